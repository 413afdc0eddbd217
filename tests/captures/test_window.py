"""Windows as bytes: what was written comes back, and anything else is refused."""

import base64
import json

import pytest
from models import tflite_models

import edgeward as ew
from edgeward import _core
from edgeward.captures.window import MAX_NS, Counted, Window, parsed, window_bytes

BOOT = bytes(range(16))
COLUMNS = {"a": ("temperature", "pressure", "°C", "")}


@pytest.fixture
def window(tmp_path):
    with ew.Capture(tmp_path / "captures") as opened:
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
