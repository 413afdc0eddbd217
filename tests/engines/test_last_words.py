"""What engines say: with each failure, in its message; otherwise nothing, unless asked for."""

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from models.tflite_writer import Op, Subgraph, Tensor
from models.tflite_writer import model as tflite_file

import edgeward as ew

QUIET = """
import sys
import edgeward as ew
from models import onnx_models, tflite_models
for engine, models in (("litert", tflite_models), ("litert-interpreter", tflite_models),
                       ("onnx", onnx_models)):
    with ew.load_unsigned(models.add(), engine=engine) as model:
        model.session().run()
        model.engine
"""


def negation(**operator_code):
    """y = -x, with fields of its operator code replaced."""
    tensors = [Tensor("x", "float32", (4,)), Tensor("y", "float32", (4,))]
    content = tflite_file([Subgraph(tensors, [Op("NEG", ("x",), ("y",))], ("x",), ("y",))])
    file = schema.ModelT.InitFromPackedBuf(bytearray(content), 0)
    for field, value in operator_code.items():
        setattr(file.operatorCodes[0], field, value)
    builder = flatbuffers.Builder(1024)
    builder.Finish(file.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize(
    ("operator_code", "name", "reason"),
    [
        ({"builtinCode": 32, "deprecatedBuiltinCode": 32, "customCode": "Foo"}, "Foo", "custom op"),
        (
            {"builtinCode": 32, "deprecatedBuiltinCode": 32, "customCode": "a.b c"},
            "a.b c",
            "custom op",
        ),
        (
            {"builtinCode": 32, "deprecatedBuiltinCode": 32, "customCode": "FlexBincount"},
            "FlexBincount",
            "Flex delegate",
        ),
        ({"version": 99}, "NEG", "version '99'"),
    ],
    ids=["custom", "dots", "flex", "version"],
)
@pytest.mark.parametrize("engine", [None, "litert", "litert-interpreter"])
def test_an_operator_that_the_engine_lacks_is_named(operator_code, name, reason, engine, capfd):
    with pytest.raises(ew.UnsupportedModel) as caught:
        ew.load_unsigned(negation(**operator_code), engine=engine)
    message = str(caught.value)
    said = f'{engine or "litert-interpreter"}: operator "{name}": expected one that the engine has'
    assert message.startswith(said)
    assert reason in message
    assert "\n" not in message
    assert capfd.readouterr().err == ""


def test_engines_are_quiet_unless_they_are_asked(run_child):
    program = QUIET.replace("import sys", "import os, sys; os.dup2(1, 2)")
    assert run_child(program, EDGEWARD_ENGINE_LOG="") == ""
    assert run_child(program, EDGEWARD_ENGINE_LOG="0") == ""
    assert "XNNPACK delegate" in run_child(program, EDGEWARD_ENGINE_LOG="1")


def test_a_failure_comes_with_the_engines_words():
    x = Tensor("x", "int32", (2,))
    table = Tensor("table", "float32", (3,))
    graph = Subgraph(
        [table, x, Tensor("y", "float32", (2,))],
        [Op("GATHER", ("table", "x"), ("y",))],
        ("table", "x"),
        ("y",),
    )
    model = ew.load_unsigned(tflite_file([graph]), engine="litert")
    with pytest.raises(ew.EngineFailed, match=r"running: .*gather index out of bounds"):
        model.predict(table=np.zeros(3, np.float32), x=np.array([0, 9], np.int32))
