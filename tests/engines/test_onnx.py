"""ONNX Runtime runs a model whatever it declares: sizes of zero, names of sizes, shapes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import sealed
from models import onnx_models
from models.onnx_models import onnxruntime

import edgeward as ew
from edgeward.engines.choice import MAX_DEFAULT_THREADS, PARALLEL_FROM_BYTES
from edgeward.engines.processors import usable_cpus

FLOATS = np.arange(6, dtype=np.float32).reshape(2, 3)
Array = npt.NDArray[Any]


def answers_of_the_engine(file: bytes, feed: Mapping[str, Array]) -> list[Array]:
    """By onnxruntime's own Python API."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feed)))


def answers(model: ew.Model, feed: Mapping[str, Array]) -> list[Array]:
    """By `predict`; by a session as well, which must give the same."""
    answer = model.predict(feed)
    by_predict = list(answer.values()) if isinstance(answer, dict) else [answer]
    session = model.session()
    session.resize({spec.name: feed[spec.name].shape for spec in model.inputs if -1 in spec.shape})
    for name, array in feed.items():
        session.inputs[name][...] = array
    for _ in range(2):
        session.run()
        by_session = [session.outputs[spec.name] for spec in model.outputs]
        assert_same(by_session, by_predict)
    return by_predict


def assert_same(some: Sequence[Array], others: Sequence[Array]) -> None:
    """The same dtypes, shapes and bits."""
    assert [(a.dtype, a.shape, a.tobytes()) for a in some] == [
        (a.dtype, a.shape, a.tobytes()) for a in others
    ]


@pytest.mark.parametrize(
    "declared",
    [(3, 2), (2, 3), (7,), (3, 3), (), ("A", "A"), ("A", 3), ("B", "A"), ("?", "?"), None],
    ids=str,
)
@pytest.mark.parametrize("shape", [("A", "B"), ("?", "?"), (2, 3), (None, None)], ids=str)
def test_an_output_has_the_shape_that_the_engine_gives_it(
    shape: tuple[int | str | None, ...], declared: tuple[int | str, ...] | None
) -> None:
    file = onnx_models.turned(shape, declared)
    with ew.load_unsigned(file, engine="onnx") as model:
        for _ in range(2):
            assert_same(answers(model, {"x": FLOATS}), answers_of_the_engine(file, {"x": FLOATS}))


@pytest.mark.parametrize("symbol", ["N", "?"])
def test_a_symbol_may_have_two_sizes(symbol: str) -> None:
    file = onnx_models.pair_of_rows(symbol)
    feed = {"a": np.ones((2,), np.float32), "b": np.ones((5,), np.float32)}
    with ew.load_unsigned(file, engine="onnx") as model:
        assert_same(answers(model, feed), answers_of_the_engine(file, feed))
        alike = {"a": np.ones((4,), np.float32), "b": np.zeros((4,), np.float32)}
        assert_same(answers(model, alike), answers_of_the_engine(file, alike))


def test_memory_for_an_output_of_another_shape_is_refused() -> None:
    target = np.zeros((2, 3), np.float32)
    with ew.load_unsigned(onnx_models.turned(("A", "B"), (2, 3)), engine="onnx") as model:
        for _ in range(2):
            with pytest.raises(
                ew.BadInput, match=r'output "y": expected no out=, because its shape'
            ):
                model.predict(FLOATS, out=target)
        assert (target == 0).all()
        np.testing.assert_array_equal(model.predict(FLOATS), FLOATS.T)


def test_a_shape_that_is_declared_and_depends_on_values_is_found() -> None:
    with ew.load_unsigned(onnx_models.data_dependent((3, 1)), engine="onnx") as model:
        for count in (3, 3, 1, 8, 0, 3):
            x = np.arange(8) < count
            np.testing.assert_array_equal(model.predict(x)[:, 0], np.arange(count))


@pytest.mark.parametrize(
    ("shape", "actual"),
    [
        ((0,), (0,)),
        ((2, 0, 3), (2, 0, 3)),
        (("N",), (0,)),
        ((0, "N"), (0, 4)),
        (("N", 0), (3, 0)),
        (("A", 4, "B"), (0, 4, 0)),
    ],
    ids=str,
)
def test_tensors_without_elements_go_in_and_out(
    shape: tuple[int | str, ...], actual: tuple[int, ...]
) -> None:
    file = onnx_models.grown_cache(shape)
    empty = {"past": np.zeros(actual, np.float32), "step": np.ones((1, *actual[1:]), np.float32)}
    with ew.load_unsigned(file, engine="onnx") as model:
        wanted = answers_of_the_engine(file, empty)
        assert_same(answers(model, empty), wanted)
        assert model.copies == 0
        out = {"old": ew.empty(actual)}
        assert_same(list(model.predict(empty, out=out).values()), wanted)


@pytest.mark.parametrize("convert", [bytes, onnx_models.to_ort], ids=["onnx", "ort"])
def test_sizes_of_zero_that_end_the_engine_are_refused_by_operator(
    convert: Callable[[bytes], bytes],
) -> None:
    message = r'input "x": expected every dimension at least 1, since Unique .*, got \[3, 0\]'
    rows = np.array([[1, 2], [1, 2]], np.float32)
    with ew.load_unsigned(convert(onnx_models.unique_rows(("N", "M"))), engine="onnx") as model:
        for _ in range(2):
            with pytest.raises(ew.BadInput, match=message):
                model.predict(np.zeros((3, 0), np.float32))
            with pytest.raises(ew.BadInput, match=message):
                model.session().resize({"x": (3, 0)})
            np.testing.assert_array_equal(model.predict(rows), rows[:1])
    with pytest.raises(ew.UnsupportedModel, match=message):
        ew.load_unsigned(convert(onnx_models.unique_rows((3, 0))), engine="onnx")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """y = x + [0, 1, 2, ...], whose addend lies in model.onnx.data beside model.onnx."""
    model = onnx.load_from_string(onnx_models.add((4096,)))
    path = tmp_path / "model" / "model.onnx"
    path.parent.mkdir()
    onnx.save(model, path, save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    return path


def test_data_beside_a_file_is_found_by_its_path(
    outside: Path, typed: Callable[[str], tuple[int, str, str]]
) -> None:
    x = np.ones(4096, np.float32)
    with ew.load_unsigned(outside) as model:
        np.testing.assert_array_equal(model.predict(x), x + np.arange(4096, dtype=np.float32))
    assert typed(f"inspect {outside}")[0] == 0
    by_path = r'data in "model.onnx.data", expected it .*load the model by its path'
    with pytest.raises(ew.UnsupportedModel, match=by_path):
        ew.load_unsigned(outside.read_bytes())


RESIDENT_OVER_THE_FILE = """
import sys
from pathlib import Path
import edgeward as ew
def resident_bytes():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status["VmRSS"].split()[0]) << 10
ew.load_unsigned(sys.argv[1]).close()  # brings the library
before = resident_bytes()
model = ew.load_unsigned(sys.argv[2], threads=1)
print(resident_bytes() - before - Path(sys.argv[2]).stat().st_size)
"""


def test_memory_that_parsing_took_goes_back(tmp_path: Path, run_child: Callable[..., str]) -> None:
    for name, width in (("small.onnx", 16), ("large.onnx", 1648)):
        onnx.save(onnx_models.dense(width, count=4), tmp_path / name)
    over = run_child(RESIDENT_OVER_THE_FILE, tmp_path / "small.onnx", tmp_path / "large.onnx")
    assert int(over) < 16 << 20


LOAD_AND_LOOK_UP = """
import sys
import numpy as np
import edgeward as ew
from sealed import DEVICE
path, trust, *rows = sys.argv[1:]
is_package = path.endswith(".ewp")
model = ew.load(path, trust=trust, key=DEVICE) if is_package else ew.load_unsigned(path)
for name, row in model.predict(*(np.array([int(row)]) for row in rows)).items():
    print(name, *map(int, row[0]))
"""


@pytest.mark.campaign
@pytest.mark.parametrize(
    "sizes_gib", [(1.1, 1.1), (0.1, 2.1)], ids=["small-tensors", "large-tensor"]
)
def test_a_model_of_more_than_2_gib_runs(
    tmp_path: Path, run_child: Callable[..., str], sizes_gib: Sequence[float]
) -> None:
    """Takes 6 GB of memory, and as much of the disk as the package does."""
    counts = [int(size * 2**30) // 16 for size in sizes_gib]
    (tmp_path / "model.onnx").write_bytes(onnx_models.tables(counts, "data"))
    with open(tmp_path / "data", "wb") as data:  # of holes, but for the last row of each table
        for i, end in enumerate(np.cumsum(counts).tolist()):
            data.seek(16 * (end - 1))
            data.write(np.array([i, 1, 2, 3], np.float32).tobytes())
    trust = sealed.trust_at(tmp_path / "trust")
    device = [sealed.DEVICE.public]
    facts = ew.Release("tables", "1", 1)
    ew.Package.seal(
        tmp_path / "model.onnx",
        tmp_path / "tables.ewp",
        facts,
        [sealed.PUBLISHER],
        encrypt_to=device,
        converts=False,
    )
    for file in ("model.onnx", "tables.ewp"):
        rows = [count - 1 for count in counts]
        lines = run_child(LOAD_AND_LOOK_UP, tmp_path / file, trust.directory, *rows).splitlines()
        assert lines == ["y0 0 1 2 3", "y1 1 1 2 3"]


def test_data_that_is_missing_short_or_elsewhere_is_refused(outside: Path) -> None:
    data = outside.parent / "model.onnx.data"
    whole = data.read_bytes()
    data.write_bytes(whole[:-1])
    with pytest.raises(ew.MalformedModel, match=r'16384 bytes at 0 of "model.onnx.data"'):
        ew.load_unsigned(outside)
    data.unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.onnx\.data"):
        ew.load_unsigned(outside)
    (outside.parent.parent / "elsewhere").write_bytes(whole)
    data.symlink_to("../elsewhere")
    with pytest.raises(ew.MalformedModel, match="in the same folder, got a link to"):
        ew.load_unsigned(outside)


def test_data_without_a_length_is_as_long_as_its_tensor(outside: Path) -> None:
    model = onnx.load(outside, load_external_data=False)
    for tensor in model.graph.initializer:
        kept = [entry for entry in tensor.external_data if entry.key != "length"]
        del tensor.external_data[:]
        tensor.external_data.extend(kept)
    outside.write_bytes(model.SerializeToString())
    with open(outside.parent / "model.onnx.data", "ab") as file:
        file.write(b"of another model")
    x = np.ones(4096, np.float32)
    with ew.load_unsigned(outside) as loaded:
        np.testing.assert_array_equal(loaded.predict(x), x + np.arange(4096, dtype=np.float32))


def test_data_counts_for_the_threads_that_a_model_gets(outside: Path) -> None:
    with ew.load_unsigned(outside) as model:
        assert model.threads == 1
    with open(outside.parent / "model.onnx.data", "ab") as file:
        file.write(bytes(PARALLEL_FROM_BYTES))
    with ew.load_unsigned(outside) as model:
        assert model.threads == min(usable_cpus(), MAX_DEFAULT_THREADS)


@pytest.mark.parametrize("shape", [("N", 4), (0, 4)], ids=str)
def test_an_empty_cache_goes_through_packages_captures_and_commands(
    shape: tuple[int | str, ...], tmp_path: Path, typed_well: Callable[[str], Any]
) -> None:
    model, package = tmp_path / "cache.onnx", tmp_path / "cache.ewp"
    model.write_bytes(onnx_models.grown_cache(shape))
    empty = {"past": np.zeros((0, 4), np.float32), "step": np.ones((1, 4), np.float32)}
    contents = ew.Contents(golden=[ew.Case(empty)], calibration=[empty] * 8)
    release = ew.Release("cache", "1", 1)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # a small calibration set
        ew.Package.seal(model, package, release, [sealed.PUBLISHER], contents)
    trust = sealed.trust_at(tmp_path / "trust")
    capture = ew.Capture(tmp_path / "captures", sample=ew.rules.every(1))
    with ew.load(package, trust=trust, capture=capture) as opened:
        (case,) = ew.Package.open(package, trust=trust).golden.cases
        assert_same(list(opened.predict(case.inputs).values()), list(case.outputs.values()))
        session = opened.session()
        session.resize({"past": (0, 4)} if "N" in shape else {})
        session.run()
        capture.flush()
        (statistics,) = opened.statistics.values()
        rows = statistics.report()["tensors"]
        counts = {row["name"]: row["parts"][0]["finite_count"] for row in rows}
        assert counts == {"past": 0, "step": 2, "now": 2, "old": 0}
    capture.close()
    captured = list(ew.read_captures(tmp_path / "captures"))
    assert [record.inputs["past"].shape for record in captured] == [(0, 4), (0, 4)]
    assert [record.outputs["now"].shape for record in captured] == [(1, 4), (1, 4)]
    (tmp_path / "past.raw").write_bytes(b"")
    np.save(tmp_path / "step.npy", empty["step"])
    inputs = f"past={tmp_path}/past.raw step={tmp_path}/step.npy --shape 0,4"
    document = typed_well(f"predict {model} {inputs}")
    assert document["outputs"]["old"]["shape"] == [0, 4]
    assert document["outputs"]["now"]["values"] == [[1, 1, 1, 1]]


@pytest.mark.parametrize("name", onnx_models.OPTIMIZED_LATER)
def test_optimizations_that_a_file_leaves_for_later_are_applied(name: str) -> None:
    file = onnx_models.to_ort_optimized_later(onnx_models.OPTIMIZED_LATER[name]())
    assert b"SelectorActionTransformer" in file or b"ConvActivationFusion" in file
    with ew.load_unsigned(file, engine="onnx") as model:
        (spec,) = model.inputs
        x = np.random.default_rng(4).standard_normal(spec.shape).astype(np.float32)
        wanted = answers_of_the_engine(file, {spec.name: x})
        assert len(np.unique(wanted[0])) > 2
        assert_same(answers(model, {spec.name: x}), wanted)


@pytest.mark.parametrize("outputs", ["x", "xy", "yx", "yy", "xyxy"])
def test_an_output_that_is_an_input_or_listed_twice_has_memory_of_its_own(outputs: str) -> None:
    file = onnx_models.passed_through(outputs)
    wanted = {"x": FLOATS, "y": -FLOATS}
    with ew.load_unsigned(file, engine="onnx") as model:
        names = [spec.name for spec in model.outputs]
        assert names == list(dict.fromkeys(outputs))
        for _ in range(2):
            results = answers(model, {"x": FLOATS})
            assert_same(results, [wanted[name] for name in names])
            assert not any(np.shares_memory(result, FLOATS) for result in results)
        x, out = FLOATS.copy(), ew.empty((2, 3))
        model.predict(x, out={names[0]: out})
        np.testing.assert_array_equal(out, wanted[names[0]])
        model.predict(x, out={names[0]: x})  # over the input itself
        np.testing.assert_array_equal(x, wanted[names[0]])


def test_a_model_without_outputs_is_refused() -> None:
    with pytest.raises(ew.UnsupportedModel, match="expected an output, got none"):
        ew.load_unsigned(onnx_models.passed_through(""), engine="onnx")


def test_nodes_may_stand_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_models.out_of_order())
    package = tmp_path / "model.ewp"
    ew.Package.seal(path, package, ew.Release("model", "1", 1), [sealed.PUBLISHER])
    trust = sealed.trust_at(tmp_path / "trust")
    for model in (ew.load_unsigned(path), ew.load(package, trust=trust)):
        for sign in (1, -1):
            x = np.full(4, sign * 3, np.float32)
            assert (model.predict(x) == -x + sign).all()


def test_a_cycle_of_nodes_is_refused() -> None:
    with pytest.raises(ew.MalformedModel, match="which nothing before it produces"):
        ew.load_unsigned(onnx_models.cycle())
