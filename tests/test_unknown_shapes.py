"""Tensors of which not even the number of dimensions is known before a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sealed
from engines_here import ENGINES, models_of
from models import onnx_models, tflite_models

import edgeward as ew
from edgeward.captures.column_names import require_columns
from edgeward.inputs import samples, tensor_file
from edgeward.inputs.picture_tensor import picture_tensor
from edgeward.reports import inspection, package_report

Load = Callable[..., ew.Model]

RESHAPING = [name for name in ENGINES if name != "litert"]  # which refuses shapes by values


def sizes_for(engine: str, *dims: int) -> Any:
    return np.array(dims, "int64" if engine == "onnx" else "int32")


@pytest.mark.parametrize("engine", RESHAPING)
def test_an_output_of_unknown_shape_is_no_scalar(engine: str) -> None:
    x = np.arange(40, dtype=np.float32)
    with ew.load_unsigned(models_of(engine).reshaped(), engine=engine) as model:
        (spec,) = model.outputs
        assert spec.shape is None
        assert repr(spec) == 'TensorSpec("y", float32, unknown)'
        assert "-> y float32 of unknown shape>" in repr(model)
        for dims in ((1, 10, 4), (40, 1, 1), (2, 5, 4)):
            answer = model.predict(x, sizes_for(engine, *dims))
            assert (answer == x.reshape(dims)).all()
            assert answer.shape == dims
        with pytest.raises(ew.BadInput, match="expected no out=, because its shape depends on val"):
            model.predict(x, sizes_for(engine, 1, 10, 4), out=np.zeros((1, 10, 4), np.float32))
        with model.session() as session:
            assert "y" not in session.outputs
            session.inputs["x"][...] = x
            session.resize({"sizes": (3,)} if engine == "onnx" else {})
            session.inputs["x"][...] = x
            session.inputs["sizes"][...] = (4, 2, 5)
            session.run()
            assert session.outputs["y"].shape == (4, 2, 5)


@pytest.mark.parametrize("engine", RESHAPING)
def test_a_package_of_such_a_model_seals_opens_and_verifies(
    engine: str, tmp_path: Path, typed: Callable[..., Any], typed_well: Callable[..., Any]
) -> None:
    inputs = {"x": np.arange(40, dtype=np.float32), "sizes": sizes_for(engine, 1, 10, 4)}
    trust = sealed.trust_at(tmp_path / "trust")
    contents = ew.Contents(golden=[ew.Case(inputs)], columns={"y": ["a", "b", "c", "d"]})
    path = tmp_path / "demo.ewp"
    model = models_of(engine).reshaped()
    ew.Package.seal(
        model, path, ew.Release("demo", "1.0", 1), [sealed.PUBLISHER], contents, engine=engine
    )
    package = ew.Package.open(path, trust=trust)
    (signature,) = package.schema.values()
    assert [spec["shape"] for spec in signature["outputs"]] == [None]
    assert [difference.passed for difference in package.replay(engine=engine)] == [True]
    assert package.load(engine=engine).predict(inputs).shape == (1, 10, 4)
    assert "output  y      float32  unknown" in typed(f"inspect {path}")[1]
    assert typed_well(f"inspect {path}")["schema"] == package.schema
    assert typed_well(f"verify {path} --trust {tmp_path}/trust --run --engine {engine}")["golden"]


@pytest.mark.parametrize("engine", RESHAPING)
def test_inspect_says_unknown_and_null(
    engine: str, tmp_path: Path, typed: Callable[..., Any], typed_well: Callable[..., Any]
) -> None:
    path = tmp_path / f"model.{'onnx' if engine == 'onnx' else 'tflite'}"
    path.write_bytes(models_of(engine).reshaped())
    _, text, _ = typed(f"inspect {path} --engine {engine}")
    assert text.splitlines()[-1].split() == ["output", "y", "float32", "unknown"]
    document = typed_well(f"inspect {path} --engine {engine}")
    (signature,) = document["signatures"].values()
    assert signature["outputs"][0]["shape"] is None


def test_an_input_of_unknown_shape_takes_every_shape() -> None:
    pytest.importorskip("onnxruntime")
    with ew.load_unsigned(onnx_models.negated(None)) as model:
        assert [spec.shape for spec in model.inputs + model.outputs] == [None, None]
        for shape in ((), (3,), (2, 0), (1, 2, 3, 4), (1,) * 8, ()):
            x = np.ones(shape, np.float32)
            assert model.predict(x).shape == shape
        for array, got in (
            (np.ones((1,) * 9, np.float32), r"float32 \[1, 1, 1, 1, 1, 1, 1, 1, 1\]"),
            (np.ones(3), r"float64 \[3\]"),
        ):
            expected = f'input "x": expected float32 of unknown shape, got {got}'
            with pytest.raises(ew.BadInput, match=expected):
                model.predict(array)
        with model.session() as session:
            for use in (lambda: session.inputs, lambda: session.resize({}), session.run):
                with pytest.raises(ew.BadInput, match='input "x"'):
                    use()
            session.resize({"x": (2, 3)})
            session.inputs["x"][...] = 7
            session.run()
            assert session.outputs["y"].tolist() == [[-7] * 3] * 2


def test_strings_of_unknown_shape_take_every_shape() -> None:
    pytest.importorskip("onnxruntime")
    with ew.load_unsigned(onnx_models.same_strings(None)) as model:
        for shape in ((), (2,), (1, 1, 2)):
            assert model.predict(np.full(shape, "a", object)).shape == shape
        with pytest.raises(ew.BadInput, match="expected string of unknown shape, got an array"):
            model.predict(np.full((1,) * 9, "a", object))


def test_a_shape_that_inputs_decide_is_found_at_load() -> None:
    engines = [name for name in ENGINES if name != "onnx"]
    assert engines, "no engine for .tflite is installed"
    for engine in engines:
        for shape in ((), (1, 10, 4)):
            with ew.load_unsigned(tflite_models.negated(shape), engine=engine) as model:
                assert model.outputs[0].shape == shape
                with model.session() as session:
                    assert session.signature.outputs == model.outputs
                out = np.empty(shape, np.float32)
                assert model.predict(np.ones(shape, np.float32), out=out) is out
        with ew.load_unsigned(tflite_models.negated((1, 4), (-1, 4)), engine=engine) as model:
            assert model.outputs[0].shape is None
            assert model.predict(np.ones((3, 4), np.float32)).shape == (3, 4)


def test_a_shape_that_the_engine_infers_is_said() -> None:
    pytest.importorskip("onnxruntime")
    for content in (onnx_models.negated((2, 3)), onnx_models.to_ort(onnx_models.negated((2, 3)))):
        with ew.load_unsigned(content) as model:
            assert model.outputs[0].shape == (2, 3)
    with ew.load_unsigned(onnx_models.negated((), ())) as model:
        assert [spec.shape for spec in model.inputs + model.outputs] == [(), ()]
    with ew.load_unsigned(onnx_models.to_ort(onnx_models.negated(None))) as model:
        assert [spec.shape for spec in model.inputs + model.outputs] == [None, None]


def test_files_for_an_input_of_unknown_shape_bring_their_own(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with ew.load_unsigned(onnx_models.negated(None)) as model:
        (spec,) = model.inputs
        signatures = list(model.signatures.values())
    raw = tmp_path / "x.bin"
    raw.write_bytes(bytes(24))
    with pytest.raises(
        ew.BadInput, match='expected --shape, since the model tells none of input "x"'
    ):
        tensor_file.read([str(raw)], [spec])
    assert tensor_file.read([str(raw)], [spec], None, (2, 3))["x"].shape == (2, 3)
    with pytest.raises(ew.BadInput, match="expected float32 of unknown shape, which has no place"):
        picture_tensor(tmp_path / "x.png", spec)
    array = np.zeros((5, 2, 3), np.float32)
    assert [part.shape for part in samples.samples_of(raw, array, spec)] == [(2, 3)] * 5
    require_columns({"x": ["a", "b"], "y": ["a"]}, signatures)


def test_bench_asks_for_a_model_that_tells_its_shapes(
    tmp_path: Path, typed: Callable[..., Any]
) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_models.negated(None))
    status, _, error = typed(f"bench {path}")
    assert status == 2
    assert 'the model does not tell the shape of input "x"' in error


def test_a_scalar_and_an_unknown_shape_read_differently() -> None:
    assert [inspection.shape_text(shape) for shape in (None, [], [1, -1])] == [
        "unknown", "[]", "[1, -1]",
    ]  # fmt: skip
    spec = {"name": "y", "dtype": "float32", "quantization": None}
    for shape, text in (([], "[]"), (None, "unknown")):
        schema = {"main": {"inputs": [], "outputs": [{**spec, "shape": shape}]}}
        assert package_report._schema_lines(schema)[-1].split()[-1] == text
