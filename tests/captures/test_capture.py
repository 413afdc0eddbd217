"""Capture: what is kept is what ran, whatever happens to the program; what is lost is counted."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import sealed
from models import onnx_models, tflite_models

import edgeward as ew
from edgeward import Contents
from edgeward.captures import rings, rules

ONES = np.ones(4, np.float32)


def vector(value):
    return np.full(4, value, np.float32)


def run(model, values):
    for value in values:
        model.predict(a=vector(value), b=ONES)


def pair(capture):
    return ew.load_unsigned(tflite_models.sum_product(), capture=capture)


def firsts(directory, **options):
    """The first element of input a, of each record."""
    return [float(record.inputs["a"][0]) for record in ew.read_captures(directory, **options)]


# --- what is kept ------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["litert", "onnx"])
def test_everything_is_kept_bit_for_bit(directory, engine):
    module = tflite_models if engine == "litert" else onnx_models
    generator = np.random.default_rng(5)
    ran = []
    with ew.Capture(directory) as capture:
        model = ew.load_unsigned(module.sum_product(), engine=engine, capture=capture)
        for _ in range(50):
            a, b = generator.standard_normal((2, 4)).astype(np.float32)
            ran.append((a, b, model.predict(a=a, b=b)))
        assert capture.flush()
        assert capture.counters["drained"] == 50
    kept = list(ew.read_captures(directory))
    assert [record.sequence for record in kept] == list(range(1, 51))
    for (a, b, outputs), record in zip(ran, kept, strict=True):
        np.testing.assert_array_equal(record.inputs["a"], a)
        np.testing.assert_array_equal(record.inputs["b"], b)
        for name, value in outputs.items():
            np.testing.assert_array_equal(record.outputs[name], value)
        assert record.reasons == ("sampled",)
        assert 0 < record.latency_ns < 10**10
        assert not record.inputs["a"].flags.writeable
    assert sorted(record.time_ns for record in kept) == [record.time_ns for record in kept]


def test_sessions_are_captured_with_resizes_and_in_place(directory):
    with ew.Capture(directory) as capture:
        model = ew.load_unsigned(tflite_models.dynamic_batch(), capture=capture)
        session = model.session()
        (name,) = session.inputs
        shapes = []
        for batch in (1, 3, 2):
            shape = (batch, *model.inputs[0].shape[1:])
            session.resize({name: shape})
            session.inputs[name][...] = batch
            session.run()
            shapes.append(shape)
        session.close()
    kept = list(ew.read_captures(directory))
    assert [record.inputs[name].shape for record in kept] == shapes
    assert [record.inputs[name].max() for record in kept] == [1, 3, 2]


def test_a_program_that_goes_elsewhere_captures_where_it_said(directory, runs_beside, monkeypatch):
    with ew.Capture(directory.name) as capture:
        model = ew.load_unsigned(tflite_models.add(), capture=capture)
        elsewhere = directory.parent / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        model.predict(np.zeros(16, np.float32))
    assert list(elsewhere.iterdir()) == []
    assert len(list(ew.read_captures(directory))) == 1


def test_only_the_tensors_that_were_asked_for(directory):
    with ew.Capture(directory, tensors=["b", "s"]) as capture:
        run(pair(capture), [1])
    (record,) = ew.read_captures(directory)
    assert (list(record.inputs), list(record.outputs)) == (["b"], ["s"])


def test_the_names_of_columns_come_with_the_counts(directory):
    names = ["temperature", "pressure", "°C", ""]
    with ew.Capture(directory) as capture:
        model = ew.load_unsigned(tflite_models.sum_product())
        capture.attach(model, columns={"b": names})
        run(model, [1])
    (window,) = ew.read_windows(directory)
    (counted,) = ew.read_statistics(directory)
    assert window.counted.columns == counted.columns == {"b": tuple(names)}


def test_names_of_columns_that_do_not_fit_are_refused(directory):
    model = ew.load_unsigned(tflite_models.sum_product())
    with ew.Capture(directory) as capture, pytest.raises(ew.BadInput, match="expected 4 names"):
        capture.attach(model, columns={"a": ["x"] * 3})


def test_a_capture_lives_as_long_as_its_model(directory):
    def load():
        return ew.load_unsigned(tflite_models.sum_product(), capture=ew.Capture(directory))

    model = load()
    gc.collect()
    run(model, [1, 2])
    assert [statistics.run_count for statistics in model.statistics.values()] == [2]
    del model
    gc.collect()
    assert len(list(ew.read_captures(directory))) == 2
    (counted,) = ew.read_statistics(directory)
    assert counted.statistics.run_count == 2


def test_a_packages_identity_labels_and_bins_come_along(directory, tmp_path):
    trust = sealed.trust_at(tmp_path / "trust")
    samples = [{"x": vector(value)} for value in range(10)]
    contents = Contents(calibration=samples, labels=["cat", "dog", "fox", "owl"])
    path = sealed.seal(tmp_path / "demo.ewp", 3, contents=contents)
    with ew.Capture(directory) as capture:
        model = ew.load(path, trust=trust, key=sealed.DEVICE, capture=capture)
        model.predict(vector(1))
        (statistics,) = model.statistics.values()
        (part, *_) = statistics.report()["tensors"][0]["parts"]
        reference = ew.Package.open(path, trust=trust).reference
        assert part["edges"].tolist() == reference.edges["input", "x"][0]
    (record,) = ew.read_captures(directory)
    assert (record.model, record.version) == ("demo", "3.0")
    assert record.package_id == ew.Package.unverified(path).package_id
    assert record.labels == ("cat", "dog", "fox", "owl")


def test_capture_next_keeps_one_with_what_it_is_told(directory):
    with ew.Capture(directory, sample=0.0) as capture:
        model = pair(capture)
        run(model, [1, 2])
        capture.capture_next(b"label: cat", 2**63)
        run(model, [3, 4])
        assert capture.counters["sampled_out"] == 3
        with pytest.raises(ew.BadInput, match=r"65537"):
            capture.capture_next(bytes(65_537))
    (record,) = ew.read_captures(directory)
    assert record.inputs["a"][0] == 3
    assert (record.user, record.correlation_id, record.reasons) == (
        b"label: cat",
        2**63,
        ("manual",),
    )


def test_what_came_before_a_trigger_is_kept_too(directory):
    with ew.Capture(directory, when=rules.above("s", 100), pre_roll=3) as capture:
        run(pair(capture), [1, 2, 3, 4, 5, 200, 6, 300])
        counters = capture.counters
        assert (counters["committed"], counters["sampled_out"]) == (6, 2)
    kept = list(ew.read_captures(directory))
    assert [record.inputs["a"][0] for record in kept] == [3, 4, 5, 200, 6, 300]
    assert [record.reasons[0] for record in kept] == ["pre_roll"] * 3 + [
        "predicate",
        "pre_roll",
    ] + ["predicate"]


def test_what_came_after_a_trigger_is_kept_too(directory):
    trigger = rules.above("s", 100)
    with ew.Capture(directory, when=trigger, pre_roll=2, post_roll=3) as capture:
        run(pair(capture), [1, 2, 3, 200, 4, 5, 6, 7, 8])
        counters = capture.counters
        assert (counters["committed"], counters["sampled_out"]) == (6, 3)
    kept = list(ew.read_captures(directory))
    assert [record.inputs["a"][0] for record in kept] == [2, 3, 200, 4, 5, 6]
    assert [record.reasons for record in kept] == [
        *[("pre_roll",)] * 2, ("predicate",), *[("post_roll",)] * 3
    ]  # fmt: skip


def test_a_trigger_among_what_comes_after_one_begins_anew(directory):
    with ew.Capture(directory, when=rules.above("s", 100), post_roll=2) as capture:
        run(pair(capture), [200, 1, 300, 2, 3, 4])
    assert firsts(directory) == [200, 1, 300, 2, 3]


def test_a_rate_that_is_asked_before_the_run_has_a_post_roll_too(directory):
    with ew.Capture(directory, sample=rules.every(5), post_roll=1, statistics=False) as capture:
        run(pair(capture), range(12))
    assert firsts(directory) == [0, 1, 5, 6, 10, 11]


@pytest.mark.parametrize(("post_roll_s", "kept"), [(1e-9, [200]), (3600.0, [200, 1, 2])])
def test_what_comes_too_long_after_a_trigger_is_not_kept(directory, post_roll_s, kept):
    options = {"when": rules.above("s", 100), "post_roll": 2, "post_roll_s": post_roll_s}
    with ew.Capture(directory, **options) as capture:
        run(pair(capture), [200, 1, 2, 3])
    assert firsts(directory) == kept


def test_a_reservoir_is_a_uniform_choice(directory):
    with ew.Capture(directory, sample=rules.reservoir(10, window_s=3600), seed=3) as capture:
        run(pair(capture), range(1000))
    kept = firsts(directory)
    assert len(kept) == 10
    assert max(kept) > 500  # later ones took the place of earlier ones


def test_the_same_seed_chooses_the_same(tmp_path):
    chosen = []
    for name, seed in (("one", 7), ("two", 7), ("three", 8)):
        with ew.Capture(tmp_path / name, sample=0.1, seed=seed) as capture:
            run(pair(capture), range(300))
        chosen.append(firsts(tmp_path / name))
    assert chosen[0] == chosen[1] != chosen[2]
    assert 10 < len(chosen[0]) < 60


def test_a_run_that_fails_is_kept_with_its_inputs(directory):
    with ew.Capture(directory, when=rules.failed()) as capture:
        model = ew.load_unsigned(onnx_models.data_dependent(), capture=capture)
        with pytest.raises(ew.EdgewardError):
            model.predict(np.zeros(3, np.float64))  # never reaches the engine
        assert capture.counters["committed"] == 0


# --- a Capture comes and goes ------------------------------------------------------------------


def test_it_can_be_attached_to_a_model_that_runs_and_ends_before_it(directory):
    model = ew.load_unsigned(tflite_models.sum_product())
    run(model, [1])
    with ew.Capture(directory) as capture:
        capture.attach(model, name="pair", version="7")
        run(model, [2, 3])
    run(model, [4])
    assert model.statistics == {}
    assert firsts(directory) == [2, 3]
    (record, _) = ew.read_captures(directory)
    assert (record.model, record.version) == ("pair", "7")


def test_another_capture_takes_the_place_of_the_first(tmp_path):
    with ew.Capture(tmp_path / "one") as first, ew.Capture(tmp_path / "two") as second:
        model = pair(first)
        run(model, [1])
        second.attach(model)
        run(model, [2])
    assert (firsts(tmp_path / "one"), firsts(tmp_path / "two")) == ([1], [2])


def test_one_capture_for_several_models(directory):
    with ew.Capture(directory) as capture:
        for name in ("left", "right"):
            model = ew.load_unsigned(tflite_models.sum_product())
            capture.attach(model, name=name)
            run(model, [1, 2])
        assert capture.counters["committed"] == 4
    assert (
        sorted(record.model for record in ew.read_captures(directory))
        == ["left"] * 2 + ["right"] * 2
    )


def test_after_its_end_it_says_so(directory):
    capture = ew.Capture(directory)
    capture.close()
    capture.close()
    with pytest.raises(ew.BadInput, match="closed"):
        capture.flush()
    with pytest.raises(ew.BadInput, match="closed"):
        capture.attach(ew.load_unsigned(tflite_models.sum_product()))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sample": 1.5}, "fraction"),
        ({"keep": "all"}, "keep: expected oldest or newest"),
        ({"evict": "newest"}, "evict: expected oldest or closest"),
        ({"ring_bytes": 100_000}, "power of two"),
        ({"ring_bytes": 1 << 10}, "power of two"),
        ({"pre_roll": -1}, "pre_roll"),
        ({"seed": -1}, "seed"),
        ({"tensors": ["s", "z"]}, '"z"'),
        ({"when": rules.above("z", 1)}, '"z"'),
        ({"sample": rules.every(0)}, "at least 1"),
        ({"encrypt_to": sealed.PUBLISHER.public}, "x25519"),
    ],
)
def test_what_cannot_be_meant_is_refused(directory, options, says):
    with pytest.raises(ew.BadInput, match=says), ew.Capture(directory, **options) as capture:
        pair(capture)


def test_rings_of_somebody_else_are_not_used(directory, tmp_path, monkeypatch):
    base = tmp_path / "others"
    base.mkdir()
    (base / "elsewhere").mkdir(mode=0o777)
    monkeypatch.setenv("EDGEWARD_RINGS", str(base))
    os.symlink(base / "elsewhere", rings.directory_of(directory))
    with pytest.raises(ew.BadInput, match="EDGEWARD_RINGS"):
        ew.Capture(directory)


# --- loss --------------------------------------------------------------------------------------


def test_a_full_ring_loses_the_new_records_and_counts_them(directory):
    """Another process holds the directory, so that nobody empties the ring."""
    with holder(directory):
        capture = ew.Capture(directory, ring_bytes=1 << 16)
        model = pair(capture)
        run(model, range(2000))
        counters = capture.counters
        assert counters["lost_full"] > 0
        assert counters["committed"] + counters["lost_full"] == 2000
        del model
        capture.close()
    with ew.Capture(directory):
        pass
    kept = list(ew.read_captures(directory))
    assert [record.sequence for record in kept] == list(range(1, counters["committed"] + 1))


def holder(directory):
    """Somebody else who holds the lock on the rings of `directory`, and drains nothing."""
    import contextlib
    import fcntl

    @contextlib.contextmanager
    def held():
        rings.make_directory(rings.directory_of(directory))
        with open(Path(rings.directory_of(directory)) / "drain.lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    return held()


def test_a_record_larger_than_half_the_ring_is_lost_and_counted(directory):
    with ew.Capture(directory, ring_bytes=1 << 16) as capture:
        model = ew.load_unsigned(tflite_models.add_150k(), capture=capture)
        model.predict(np.zeros(tflite_models.ADD_150K_SHAPE, np.float32))
        assert capture.counters["lost_large"] == 1


def test_a_disk_that_refuses_costs_records_and_no_answer(directory, run_child):
    program = """
    import resource, signal, sys
    import numpy as np, edgeward as ew
    from models import tflite_models
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    capture = ew.Capture(sys.argv[1], ring_bytes=1 << 16)
    model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    ones = np.ones(4, np.float32)
    for _ in range(3000):
        assert (model.predict(a=ones, b=ones)["s"] == 2).all()
    assert not capture.flush(1)
    assert "large" in capture.complaint, capture.complaint
    lost = capture.counters["lost_full"]
    assert lost > 0 and capture.counters["failures"] > 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    assert capture.flush(60)
    model.predict(a=ones, b=ones)
    assert capture.flush(60)
    counters = capture.counters
    assert counters["committed"] + counters["lost_full"] == 3001
    assert counters["drained"] >= counters["committed"]
    print(counters["committed"])
    """
    committed = int(run_child(textwrap.dedent(program), directory))
    assert sum(1 for _ in ew.read_captures(directory)) == committed


def test_what_the_disk_refused_at_the_end_is_known_after_it(directory, run_child):
    program = """
    import resource, signal, sys
    import numpy as np, edgeward as ew
    from models import tflite_models
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for most_bytes in (resource.RLIM_INFINITY, 1000):
        capture = ew.Capture(sys.argv[1] + str(most_bytes), statistics=False)
        model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))
        for _ in range(100):
            model.predict(a=np.ones(4, np.float32), b=np.ones(4, np.float32))
        capture.close()
        print(capture.complaint)
    """
    fine, refused = run_child(textwrap.dedent(program), directory).split("\n")[:2]
    assert fine == ""
    assert "large" in refused


def test_no_memory_to_drain_with_costs_time_and_no_answer(directory, run_child):
    program = """
    import re, resource, sys
    from pathlib import Path
    import edgeward as ew
    from models import tflite_models
    capture = ew.Capture(sys.argv[1], sample=0.0, ring_bytes=1 << 26, statistics=False)
    model = ew.load_unsigned(tflite_models.dynamic_batch(), capture=capture)
    session = model.session()
    capture.capture_next()
    session.run()
    # On the disk: the drain has to pass over it when it goes back to what it had no memory for.
    assert capture.flush(60)
    session.resize({"x": (1_000_000, 4)})
    session.run()
    session.inputs["x"][...] = 1
    used_kb = int(re.search(r"VmSize:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
    resource.setrlimit(resource.RLIMIT_AS, ((used_kb + 4096) * 1024, resource.RLIM_INFINITY))
    capture.capture_next()
    session.run()
    assert not capture.flush(1)
    assert "bad_alloc" in capture.complaint, capture.complaint
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    assert capture.flush(60)
    assert capture.counters["committed"] == capture.counters["drained"] == 2
    """
    # One arena: another one's room is within the limit from the start.
    run_child(textwrap.dedent(program), directory, MALLOC_ARENA_MAX="1")
    small, large = ew.read_captures(directory)
    assert small.inputs["x"].size == 4
    assert large.inputs["x"].shape == (1_000_000, 4)
    assert (large.inputs["x"] == 1).all()


# --- crashes -----------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
import numpy as np, edgeward as ew
from models import tflite_models
directory, count = sys.argv[1], int(sys.argv[2])
capture = ew.Capture(directory)
model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
ones = np.ones(4, np.float32)
for value in range(count):
    model.predict(a=np.full(4, value, np.float32), b=ones)
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(directory, count):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(directory), str(count)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_program_that_is_killed_loses_nothing_that_it_ran(directory):
    killed(directory, 100)
    with ew.Capture(directory):  # the next one who comes finds the ring
        pass
    assert firsts(directory) == list(range(100))
    assert list((Path(os.environ["EDGEWARD_RINGS"])).rglob("*.ring")) == []


def test_a_black_box_and_a_pre_roll_outlive_a_kill_at_any_moment(run_child):
    program = """
    import random
    from campaigns import killed_programs
    seed = random.SystemRandom().randrange(1 << 32)
    assert len(list(killed_programs.each_kill(40, seed))) == 40
    """
    run_child(textwrap.dedent(program))


def test_programs_that_share_a_directory_may_end_in_any_way(run_child):
    program = """
    import random
    from campaigns import rival_programs
    seed = random.SystemRandom().randrange(1 << 32)
    assert len(list(rival_programs.each_round(6, seed))) == 6
    """
    run_child(textwrap.dedent(program))


def test_programs_that_end_in_any_way_leave_records_and_statistics(run_child):
    program = """
    import random
    from campaigns import ended_programs
    seed = random.SystemRandom().randrange(1 << 32)
    assert len(list(ended_programs.each_end(9, seed))) == 9
    """
    run_child(textwrap.dedent(program))


def test_a_forked_child_leaves_its_parents_capture_alone(directory):
    with ew.Capture(directory) as capture:
        model = pair(capture)
        run(model, [1])
        child = os.fork()
        if child == 0:
            os._exit(0 if refused(model) and closes(capture) else 1)
        assert os.waitpid(child, 0)[1] == 0
        run(model, [2])
    assert firsts(directory) == [1, 2]


def refused(model):
    try:
        run(model, [9])
    except ew.Forked:
        return True
    return False


def closes(capture):
    capture.close()
    return True


def test_a_program_that_just_ends_brings_all_to_the_disk(directory, run_child):
    program = """
    import sys
    import numpy as np, edgeward as ew
    from models import tflite_models
    capture = ew.Capture(sys.argv[1])
    model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
    ones = np.ones(4, np.float32)
    for _ in range(10):
        model.predict(a=ones, b=ones)
    """
    run_child(textwrap.dedent(program), directory)
    assert len(firsts(directory)) == 10
    assert all(path.suffix != ".open" for path in directory.iterdir())


# --- secrecy and room --------------------------------------------------------------------------


def test_only_the_recipient_reads_what_was_captured(directory):
    with ew.Capture(directory, encrypt_to=sealed.DEVICE.public) as capture:
        run(pair(capture), [1, 2])
    with pytest.raises(ew.WrongKey, match="private key"):
        list(ew.read_captures(directory))
    with pytest.raises(ew.WrongKey):
        list(ew.read_captures(directory, key=sealed.key("other", "x25519")))
    assert firsts(directory, key=sealed.DEVICE) == [1, 2]
    for path in directory.glob("*.ewc"):
        assert vector(2).tobytes() not in path.read_bytes()


def test_old_segments_make_room_and_are_counted(directory):
    with ew.Capture(directory, segment_bytes=1 << 16, most_bytes=1 << 18) as capture:
        model = pair(capture)
        for _ in range(40):
            run(model, range(100))
            assert capture.flush()
        counters = capture.counters
    assert counters["evicted"] > 0
    total = sum(path.stat().st_size for path in directory.glob("*.ewc"))
    assert total <= (1 << 18) + (1 << 17)
    assert counters["committed"] == 4000
    assert len(firsts(directory)) + counters["evicted"] == pytest.approx(4000, abs=0)


# --- threads -----------------------------------------------------------------------------------


def test_threads_capture_side_by_side(directory):
    from concurrent.futures import ThreadPoolExecutor

    with ew.Capture(directory) as capture:
        model = pair(capture)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda value: run(model, [value] * 50), range(8)))
        counters = capture.counters
        assert counters["committed"] + counters["lost_full"] == 400
        assert (
            sum(statistics.report()["run_count"] for statistics in model.statistics.values()) == 400
        )
    kept = list(ew.read_captures(directory))
    assert len(kept) == counters["committed"]
    for ring in {record.ring_id for record in kept}:
        numbers = [record.sequence for record in kept if record.ring_id == ring]
        assert numbers == list(range(1, len(numbers) + 1))
