"""Windows as bytes: what was written comes back, and anything else is refused."""

import base64
import json

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from models import tflite_models

import edgeward as ew
from edgeward import _core
from edgeward.captures.window import MAX_NS, Counted, Window, parsed, window_bytes

BOOT = bytes(range(16))
COLUMNS = {"a": ("temperature", "pressure", "°C", "")}


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    with ew.Capture(tmp_path_factory.mktemp("window")) as opened:
        model = ew.load_unsigned(tflite_models.sum_product(), capture=opened)
        session = model.session()
        session.run()
        ((signature, statistics),) = model.statistics.items()
    counted = Counted("m", "1", "ab", signature, statistics, COLUMNS)
    return Window(counted, "0123456789abcdef", BOOT, 5, 7, _core.LEAST_WALL_NS)


def facts(window):
    """All of it but statistics, which do not compare, and those as bytes."""
    counted = window.counted
    return (
        counted._replace(statistics=None),
        counted.statistics.to_bytes(),
        window._replace(counted=None),
    )


@pytest.mark.parametrize(
    "others",
    [
        {},
        {"boot_id": bytes(16)},
        {"begin_ns": 0, "end_ns": MAX_NS},
        {"wall_ns": None},
        {"wall_ns": MAX_NS},
    ],
    ids=str,
)
def test_a_window_comes_back(window, others):
    window = window._replace(**others)
    assert facts(parsed(window_bytes(window))) == facts(window)


def test_a_clock_that_was_never_set_is_no_time(window):
    window = window._replace(wall_ns=_core.LEAST_WALL_NS - 1)
    assert parsed(window_bytes(window)).wall_ns is None


def of_version_1(window, **others):
    counted = window.counted
    document = {
        "version": 1,
        "model": {"name": counted.name, "version": counted.version, "package_id": "ab"},
        "signature": counted.signature,
        "statistics": base64.b64encode(counted.statistics.to_bytes()).decode(),
    }
    return json.dumps(document | others).encode()


def test_version_1_says_what_was_counted(window):
    counted = parsed(of_version_1(window))
    assert isinstance(counted, Counted)
    assert counted[:4] == window.counted[:4]
    assert counted.statistics.to_bytes() == window.counted.statistics.to_bytes()


@pytest.mark.parametrize(
    "others",
    [{"version": 2}, {"version": None}, {"other": 1}, {"signature": 5}, {"model": []}],
    ids=str,
)
def test_something_else_is_not_version_1(window, others):
    with pytest.raises(ew.MalformedCapture):
        parsed(of_version_1(window, **others))


def described(window, changes):
    """Its bytes with another description: members of members are changed one by one."""
    statistics = _core.Statistics.from_bytes(window_bytes(window))
    description = json.loads(statistics.description)
    for member, change in changes.items():
        if isinstance(change, dict):
            description[member].update(change)
        else:
            description[member] = change
    return statistics.to_bytes(json.dumps(description))


def test_what_a_later_version_adds_is_passed_over(window):
    content = described(window, {"more": 1, "window": {"more": 2}, "model": {"more": 3}})
    assert facts(parsed(content)) == facts(window)


@pytest.mark.parametrize(
    "changes",
    [
        {"window": None},
        {"window": {"id": ""}},
        {"window": {"id": "0123456789abcdeF"}},
        {"window": {"id": "0123456789abcdef0"}},
        {"window": {"id": 5}},
        {"window": {"boot_id": "00" * 15}},
        {"window": {"boot_id": "00" * 17}},
        {"window": {"boot_id": "no" * 16}},
        {"window": {"boot_id": None}},
        {"window": {"begin_ns": -1}},
        {"window": {"begin_ns": 1.5}},
        {"window": {"begin_ns": True}},
        {"window": {"begin_ns": 7}},
        {"window": {"end_ns": MAX_NS + 1}},
        {"window": {"end_ns": float("inf")}},
        {"window": {"wall_ns": -1}},
        {"window": {"wall_ns": None}},
        {"model": []},
        {"model": {"name": 5}},
        {"signature": None},
        {"columns": []},
        {"columns": {"a": "names"}},
        {"columns": {"a": [1]}},
        {"columns": {"a": None}},
    ],
    ids=str,
)
def test_another_description_is_refused(window, changes):
    with pytest.raises(ew.MalformedCapture):
        parsed(described(window, changes))


@pytest.mark.parametrize(
    "text", ["", "5", "[]", "{}", "{", "[" * 100_000, '{"window": {}}'], ids=lambda text: text[:20]
)
def test_what_is_no_description_is_refused(window, text):
    with pytest.raises(ew.MalformedCapture):
        parsed(window.counted.statistics.to_bytes(text))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
PERIOD = st.sampled_from(["id", "boot_id", "begin_ns", "end_ns", "wall_ns"])
MEMBERS = st.sampled_from(["model", "signature", "window", "columns"])


@for_all(st.dictionaries(MEMBERS, VALUES | st.dictionaries(PERIOD, VALUES), min_size=1))
def test_whatever_a_description_says_is_read_or_refused(window, changes):
    description = json.loads(_core.Statistics.from_bytes(window_bytes(window)).description)
    for member, change in changes.items():
        is_part = isinstance(change, dict) and isinstance(description[member], dict)
        description[member] = {**description[member], **change} if is_part else change
    content = window.counted.statistics.to_bytes(json.dumps(description))
    try:
        read = parsed(content)
    except ew.MalformedCapture:
        return
    assert parsed(window_bytes(read))[1:] == read[1:]
    assert 0 <= read.begin_ns < read.end_ns <= MAX_NS


@pytest.mark.parametrize("member", ["model", "signature", "window"])
def test_a_description_that_lacks_something_is_refused(window, member):
    statistics = _core.Statistics.from_bytes(window_bytes(window))
    description = json.loads(statistics.description)
    del description[member]
    with pytest.raises(ew.MalformedCapture):
        parsed(statistics.to_bytes(json.dumps(description)))


def test_bytes_that_were_cut_or_changed_are_refused(window):
    content = window_bytes(window)
    cut = [content[:length] for length in range(len(content))]
    flipped = []
    for bit in range(8 * len(content)):
        octets = bytearray(content)
        octets[bit // 8] ^= 1 << bit % 8
        flipped.append(bytes(octets))
    for damaged in [*cut, *flipped, content + b"x"]:
        with pytest.raises(ew.MalformedCapture):
            parsed(damaged)
