"""Tensors of strings: what predict and sessions take and give, against the engine's own API."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest
from models import onnx_models
from onnx import TensorProto, helper

import edgeward as ew

ML = ("ai.onnx.ml", 3)
STRING, INT64, FLOAT = TensorProto.STRING, TensorProto.INT64, TensorProto.FLOAT
WORDS = ["cat", "", "two words", "Größe", "日本", "z\0ero\0"]
HAS_STRING_DTYPE = hasattr(getattr(np, "dtypes", None), "StringDType")


def graph(nodes: Any, inputs: Any, outputs: Any, *opsets: tuple[str, int]) -> bytes:
    values = [
        [helper.make_tensor_value_info(name, element, shape) for name, element, shape in side]
        for side in (inputs, outputs)
    ]
    sets = [helper.make_opsetid(*opset) for opset in (("", 20), *opsets)]
    main = helper.make_graph(nodes, "main", *values)
    return helper.make_model(main, opset_imports=sets, ir_version=9).SerializeToString()


def echo(shape: Any = ("n",)) -> bytes:
    node = helper.make_node("Identity", ["x"], ["y"])
    return graph([node], [("x", STRING, shape)], [("y", STRING, shape)])


def concat() -> bytes:
    node = helper.make_node("StringConcat", ["a", "b"], ["y"])
    sides = [("a", STRING, ["n", 2]), ("b", STRING, ["n", 2])]
    return graph([node], sides, [("y", STRING, ["n", 2])])


def labels_of() -> bytes:
    """From numbers to strings."""
    node = helper.make_node(
        "LabelEncoder", ["x"], ["y"], domain=ML[0],
        keys_int64s=[3, 4], values_strings=["cat", "Katze"], default_string="neither",
    )  # fmt: skip
    return graph([node], [("x", INT64, ["n"])], [("y", STRING, ["n"])], ML)


def numbers_of() -> bytes:
    """From strings to numbers."""
    node = helper.make_node(
        "LabelEncoder", ["x"], ["y"], domain=ML[0],
        keys_strings=["cat", "Größe"], values_int64s=[3, 4], default_int64=-1,
    )  # fmt: skip
    return graph([node], [("x", STRING, ["n"])], [("y", INT64, ["n"])], ML)


def split() -> bytes:
    node = helper.make_node("StringSplit", ["x"], ["y", "n"], delimiter=" ")
    outputs = [("y", STRING, ["n", None]), ("n", INT64, ["n"])]
    return graph([node], [("x", STRING, ["n"])], outputs)


def normalizer() -> bytes:
    node = helper.make_node(
        "StringNormalizer", ["x"], ["y"], case_change_action="LOWER", locale="C", stopwords=["cat"]
    )
    return graph([node], [("x", STRING, [None])], [("y", STRING, [None])])


def tfidf() -> bytes:
    node = helper.make_node(
        "TfIdfVectorizer", ["x"], ["y"], mode="TF", min_gram_length=1, max_gram_length=2,
        max_skip_count=0, ngram_counts=[0, 2], ngram_indexes=[0, 1, 2],
        pool_strings=["cat", "日本", "cat", "two words"],
    )  # fmt: skip
    return graph([node], [("x", STRING, [None])], [("y", FLOAT, [None])])


def classifier() -> list[Any]:
    """As converters write a classifier whose labels are strings; ZipMap is left to the caller."""
    return [
        helper.make_node(
            "LinearClassifier", ["x"], ["label", "scores"], domain=ML[0], multi_class=1,
            coefficients=[1.0, 0.0, 0.0, 1.0, -1.0, -1.0], intercepts=[0.0, 0.0, 0.5],
            classlabels_strings=["cat", "dog", "neither"], post_transform="SOFTMAX",
        )
    ]  # fmt: skip


MODELS = {
    "identity": (echo(), [WORDS]),
    "none": (echo(), [[]]),
    "concat": (concat(), [[["a", "b"], ["", "日"]], [["c", ""], ["", "本"]]]),
    "labels": (labels_of(), [np.array([3, 4, 5])]),
    "numbers": (numbers_of(), [WORDS]),
    "split": (split(), [WORDS]),
    "normalizer": (normalizer(), [WORDS]),
    "tfidf": (tfidf(), [["cat", "two words", "日本", "cat"]]),
    "classifier": (
        graph(
            classifier(), [("x", FLOAT, ["n", 2])],
            [("label", STRING, ["n"]), ("scores", FLOAT, ["n", 3])], ML,
        ),
        [np.array([[2, 0], [0, 2], [-1, -1]], np.float32)],
    ),
    "reshape": (onnx_models.strings(), [WORDS[:4]]),
    "scalar": (echo(()), ["Größe"]),
    "ort": (onnx_models.to_ort(echo()), [WORDS]),
}  # fmt: skip


@pytest.fixture
def load():
    """From a model's bytes, in ONNX Runtime."""
    return lambda content: ew.load_unsigned(content, engine="onnx")


def official(content: bytes, arrays: Any) -> list[Any]:
    session = onnx_models.onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    values = [a if isinstance(a, np.ndarray) else np.array(a, object) for a in arrays]
    return session.run(None, dict(zip(names, values, strict=True)))


def listed(outputs: Any) -> list[Any]:
    return list(outputs.values()) if isinstance(outputs, dict) else [outputs]


def same(array: Any, expected: Any) -> bool:
    if expected.dtype != object:
        return array.dtype == expected.dtype and array.tobytes() == expected.tobytes()
    wanted = expected.tolist() if HAS_STRING_DTYPE else np.vectorize(str.encode)(expected).tolist()
    return array.shape == expected.shape and array.tolist() == wanted


@pytest.mark.parametrize("name", MODELS)
def test_predict_gives_what_the_engine_gives(name, load):
    content, arrays = MODELS[name]
    outputs = listed(load(content).predict(*arrays))
    for array, expected in zip(outputs, official(content, arrays), strict=True):
        assert same(array, expected), (array, expected)


@pytest.mark.parametrize("name", MODELS)
def test_a_session_gives_the_same_each_time(name, load):
    content, arrays = MODELS[name]
    session = load(content).session()
    session.resize({key: np.shape(a) for key, a in zip(session.inputs, arrays, strict=True)})
    for key, array in zip(session.inputs, arrays, strict=True):
        session.inputs[key][...] = array
    for _ in range(3):
        session.run()
        for array, expected in zip(
            session.outputs.values(), official(content, arrays), strict=True
        ):
            assert same(array, expected)


@pytest.mark.parametrize("name", MODELS)
def test_each_tensor_of_strings_is_a_copy_and_counted(name, load):
    content, arrays = MODELS[name]
    model = load(content)
    specs = (*model.inputs, *model.outputs)
    arrays = [ew.empty(a.shape, a.dtype) if isinstance(a, np.ndarray) else a for a in arrays]
    for array in arrays:
        if isinstance(array, np.ndarray):
            array[...] = 0
    model.predict(*arrays)
    assert model.copies == sum(spec.dtype == "string" for spec in specs)


KINDS = {
    "list": list,
    "tuple": tuple,
    "list of bytes": lambda words: [word.encode() for word in words],
    "mixed": lambda words: [words[0].encode(), *words[1:]],
    "objects": lambda words: np.array(words, object),
    "objects of bytes": lambda words: np.array([word.encode() for word in words], object),
    "numpy str": lambda words: np.array(words),
    "numpy bytes": lambda words: np.array([word.encode() for word in words]),
    "strided": lambda words: np.array([[word, "-"] for word in words], object)[:, 0],
    "backwards": lambda words: np.array(words[::-1], object)[::-1],
    "str scalars": lambda words: [np.str_(word) for word in words],
}  # fmt: skip
if HAS_STRING_DTYPE:
    KINDS["StringDType"] = lambda words: np.array(words, np.dtypes.StringDType())


@pytest.mark.parametrize("kind", KINDS)
def test_strings_come_in_whatever_numpy_holds_them_in(kind, load):
    # numpy's own str and bytes cannot say where zeros at the end belong.
    words = [word.rstrip("\0") for word in WORDS]
    result = load(echo()).predict(KINDS[kind](words))
    assert same(result, np.array(words, object))


def test_the_output_is_of_numpys_string_type(load):
    result = load(echo()).predict(WORDS)
    if HAS_STRING_DTYPE:
        assert result.dtype == np.dtypes.StringDType()
    assert result.flags.writeable
    assert result.base is None or result.base.base is None


def test_bytes_that_are_not_utf8_come_back_as_bytes(load):
    """As they are: one such string makes objects of bytes of all."""
    raw = [b"\xff\xfe", "Größe".encode(), b"", b"a\0b\0"]
    result = load(echo()).predict(raw)
    assert result.dtype == object
    assert result.tolist() == raw


REFUSED = {
    "a number": (["a", 1], "element [1]: expected str or bytes, got int"),
    "nothing": (["a", "b", None], "element [2]: expected str or bytes, got NoneType"),
    "a list in a list": (["a", ["b"]], "element [1]: expected str or bytes, got list"),
    "a lone surrogate": (["\ud800"], "element [0]: expected text that UTF-8 has"),
    "two dimensions": ([["a"]], "expected string [-1], got string [1, 1]"),
    "one string": ("a", "expected string [-1], got string []"),
    "numbers": (np.zeros(3), "expected string [-1], got float64 [3]"),
    "dates": (np.array(["2020"], "M8"), "got datetime64[Y] [1]"),
    "an object": (object(), "got a object, which is no array"),
    "a class": (np.ndarray, "got a type, which is no array"),
    "a number alone": (3, "got a int, which is no array"),
    "a mask": (np.ma.array(["a", "b"], object, mask=[0, 1]), "got a masked array"),
    "memory": (memoryview(b"abc"), "got a memoryview, which is no array"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_string_is_refused_by_its_index(name, load):
    value, message = REFUSED[name]
    model = load(echo())
    with pytest.raises(ew.BadInput) as caught:
        model.predict(value)
    assert message in str(caught.value)
    assert str(caught.value).startswith('input "x": ')
    assert model.predict(["still"]).shape == (1,)


def test_the_index_of_an_element_has_every_dimension(load):
    words: list[Any] = [["a", "b"], ["c", 4], ["d", "e"]]
    with pytest.raises(ew.BadInput, match=r'input "b": element \[1, 1\]: .*got int'):
        load(concat()).predict([["a", "b"]] * 3, words)


def test_strings_of_another_shape_are_told_as_strings(load):
    with pytest.raises(ew.BadInput, match=r"expected string \[-?\d+\], got string \[1, 1\]"):
        load(echo()).predict([["a"]])


def test_what_numpy_cannot_read_is_refused_with_its_reason(load):
    class Broken:
        def __array__(self, *args: Any, **kwargs: Any) -> Any:
            raise ValueError("not\ntoday")

    with pytest.raises(ew.BadInput, match="that numpy cannot read: not today"):
        load(echo()).predict(Broken())


@pytest.mark.parametrize("kind", ["objects", "strings", "a dict"])
def test_strings_are_returned_and_not_written(kind, load):
    out: Any = np.full(1, "", "O" if kind == "objects" else "U9")
    with pytest.raises(ew.BadInput, match='output "y": expected no out=, because strings'):
        load(echo()).predict(["a"], out={"y": out} if kind == "a dict" else out)


def test_no_memory_is_made_for_strings():
    with pytest.raises(ew.BadInput, match="got string"):
        ew.empty((3,), "string")


@pytest.mark.parametrize(
    "kind", ["a sequence of maps", "a sequence of tensors", "an optional tensor"]
)
def test_what_is_no_tensor_is_refused_by_a_sentence_that_names_it(kind):
    nodes = classifier()
    if kind == "a sequence of maps":
        zipped = {"domain": ML[0], "classlabels_strings": ["cat", "dog", "neither"]}
        nodes.append(helper.make_node("ZipMap", ["scores"], ["z"], **zipped))
        of_map = helper.make_map_type_proto(STRING, helper.make_tensor_type_proto(FLOAT, []))
        output = helper.make_value_info("z", helper.make_sequence_type_proto(of_map))
    elif kind == "a sequence of tensors":
        nodes.append(helper.make_node("SequenceConstruct", ["scores"], ["z"]))
        of = helper.make_tensor_type_proto(FLOAT, None)
        output = helper.make_value_info("z", helper.make_sequence_type_proto(of))
    else:
        nodes.append(helper.make_node("Optional", ["scores"], ["z"]))
        of = helper.make_tensor_type_proto(FLOAT, None)
        output = helper.make_value_info("z", helper.make_optional_type_proto(of))
    content = helper.make_model(
        helper.make_graph(
            nodes, "main", [helper.make_tensor_value_info("x", FLOAT, ["n", 2])], [output]
        ),
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid(*ML)],
        ir_version=9,
    ).SerializeToString()
    with pytest.raises(ew.UnsupportedModel) as caught:
        ew.load_unsigned(content)
    hint = " (convert with zipmap=False)" if kind == "a sequence of maps" else ""
    assert str(caught.value) == f'output "z": expected a tensor, got {kind}{hint}'


def test_a_session_begins_with_empty_strings(load):
    session = load(concat()).session()
    assert session.inputs["a"].tolist() == [["", ""]]
    session.run()
    assert same(session.outputs["y"], np.array([["", ""]], object))
    session.inputs["a"][0, 1] = "a"
    session.inputs["b"][...] = b"b"
    session.run()
    assert same(session.outputs["y"], np.array([["b", "ab"]], object))
    session.inputs["a"][0, 1] = 1
    with pytest.raises(ew.BadInput, match=r'input "a": element \[0, 1\]: expected str or bytes'):
        session.run()


def test_a_session_keeps_strings_that_nobody_looked_at(load):
    """Numbers beside them are bound once."""
    session = load(labels_of()).session()
    session.inputs["x"][...] = 4
    for number, word in ((4, "Katze"), (3, "cat"), (9, "neither")):
        session.inputs["x"][...] = number
        session.run()
        assert same(session.outputs["y"], np.array([word], object))


def test_shapes_follow_the_strings(load):
    model = load(echo())
    for count in (1, 7, 2, 7):
        words = [str(i) * i for i in range(count)]
        assert same(model.predict(words), np.array(words, object))
    session = model.session()
    session.resize({"x": (3,)})
    session.inputs["x"][:] = ["a", "b", "c"]
    session.run()
    assert session.outputs["y"].shape == (3,)


def test_a_long_text_and_many_short_ones(load):
    model = load(echo())
    long = "ä" * 5_000_000
    assert same(model.predict([long, ""]), np.array([long, ""], object))
    many = [str(i) for i in range(100_000)]
    assert same(model.predict(many), np.array(many, object))


def test_threads_do_not_see_each_others_strings(load):
    model = load(concat())
    wrong = []

    def run(number: int) -> None:
        for turn in range(50):
            left, right = f"{number}/{turn}/", "x" * (number * turn)
            result = model.predict([[left, ""]], [[right, right]])
            if not same(result, np.array([[left + right, right]], object)):
                wrong.append(result)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_output_outlives_its_model(load):
    result = load(echo()).predict(WORDS)
    gc.collect()
    assert same(result, np.array(WORDS, object))
