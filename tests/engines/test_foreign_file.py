"""Files of other kinds: each is named, with what converts it, and no model of ours is one."""

import gzip
import io
import pickle
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import sealed
import segments
from models import onnx_models, tflite_models

import edgeward as ew
from edgeward.engines import foreign_file
from edgeward.engines.choice import HEAD_BYTES
from edgeward.terminal.png import png


def archive(*names):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name in names:
            file.writestr(name, b"x" * 100)
    return content.getvalue()


def field(number, content):
    """A message in a field of another, whose length takes one byte or two."""
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
    return bytes([number << 3 | 2]) + length + content


def arrays():
    content = io.BytesIO()
    np.savez(content, x=np.zeros(3))
    return content.getvalue()


def one_array():
    content = io.BytesIO()
    np.save(content, np.zeros(3))
    return content.getvalue()


LAYER = field(1, b"dense") + field(2, b"MatMul")
INPUT = field(1, b"image") + field(2, b"a picture")
HEADER = b'{"weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'

CONVERTED = {
    "h5": (b"\x89HDF\r\n\x1a\n" + bytes(200), "Keras writes (.h5)", "tf.lite.TFLiteConverter"),
    "keras": (archive("metadata.json", "config.json", "model.weights.h5"), ".keras", "tf2onnx"),
    "pt": (archive("archive/data.pkl", "archive/data/0"), "PyTorch", "torch.onnx.export"),
    "torchscript": (archive("net/code/net.py", "net/data.pkl"), "PyTorch", "torch.onnx.export"),
    "torchscript of torch": (archive("net/data/0", "net/data.pkl"), "PyTorch", "torch.onnx.export"),
    "cbm": (b"CBM1\x10\0\0\0" + bytes(99), "CatBoost", 'format="onnx"'),
    "ubj": (b"{L" + struct.pack(">Q", 7) + b"learner{L" + bytes(99), "XGBoost", "onnxmltools"),
    "xgboost json": (b'{"learner":{"attributes":{}}}', "XGBoost", "onnxmltools"),
    "lightgbm": (b"tree\nversion=v4\nnum_class=1\n", "LightGBM", "onnxmltools"),
    "old pt": (
        pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2),
        "PyTorch",
        "torch.onnx.export",
    ),
    "safetensors": (struct.pack("<Q", len(HEADER)) + HEADER, "safetensors", "torch.onnx.export"),
    "saved model": (
        b"\x08\x01" + field(2, field(1, field(2, field(1, field(1, b"Add"))) + bytes(200))),
        "SavedModel",
        "tf.lite.TFLiteConverter",
    ),
    "graph": (field(1, LAYER) * 9, "a graph of TensorFlow", "tf2onnx"),
    "engine": (b"ftrt" + bytes(100), "TensorRT", "the .onnx that it was built from"),
    "described engine": (
        struct.pack("<I", 13) + b'{"task": "x"}' + b"ftrt" + bytes(100),
        "TensorRT",
        "the .onnx that it was built from",
    ),
    "mlmodel": (b"\x08\x01" + field(2, field(1, INPUT)) + bytes(9), "Core ML", "onnxmltools"),
    "gguf": (b"GGUF\x03\0\0\0" + bytes(100), "GGUF", "optimum-cli"),
    "git lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "Git LFS",
        "git lfs pull",
    ),
    "gzip": (gzip.compress(tflite_models.add()), "gzip", "unpack"),
    **{
        f"pickle {protocol}": (pickle.dumps({"model": [1.5] * 9}, protocol), "pickle", "skl2onnx")
        for protocol in (2, 3, 4, 5)
    },
}
NAMED = {
    "zeros": (bytes(4096), "one that begins with zeros"),
    "nothing": (b"", "an empty file"),
    "text": ("Ein Satz über nichts.\n".encode(), "text"),
    "json": (b'{"modelTopology": {"layers": []}}\n' * 500, "text"),
    "cut character": (("ü" * 4000).encode()[: HEAD_BYTES - 1], "text"),
    "png": (png(np.zeros((4, 4, 3), np.uint8)), "a PNG picture"),
    "jpg": (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(100), "a JPEG picture"),
    "npy": (one_array(), "an array of numpy"),
    "npz": (arrays(), "arrays of numpy"),
    "zip": (archive("readme"), "a ZIP archive"),
    "program": (Path("/proc/self/exe").read_bytes()[:HEAD_BYTES], "a program or library"),
    "private key": (sealed.key_text("somebody").encode(), "a private key"),
    "segment": (segments.head(bytes(16)), "a segment of captures"),
}


@pytest.mark.parametrize("case", CONVERTED)
def test_a_model_of_another_kind_is_named_with_what_converts_it(tmp_path, case):
    content, noun, conversion = CONVERTED[case]
    (tmp_path / "model.onnx").write_bytes(content)
    for source in (content, tmp_path / "model.onnx"):
        with pytest.raises(ew.MalformedModel) as caught:
            ew.load_unsigned(source)
        message = str(caught.value)
        assert message.startswith("model: expected a .tflite, .onnx or .ort file, got ")
        assert re.search(rf", got .*{re.escape(noun)}.* \(.*{re.escape(conversion)}.*\)\Z", message)


@pytest.mark.parametrize("case", NAMED)
def test_any_other_file_is_named(case):
    content, noun = NAMED[case]
    message = rf"\Amodel: expected a .tflite, .onnx or .ort file, got {noun}[^:]*\Z"
    with pytest.raises(ew.MalformedModel, match=message):
        ew.load_unsigned(content)


@pytest.mark.parametrize("content", [b"\x08", bytes(63), b"\xfe\xff" * 99, bytes(range(99))])
def test_bytes_that_are_nothing_known_are_none_of_the_three(content):
    message = r"\Amodel: expected a .tflite, .onnx or .ort file, got one that is none of these \("
    with pytest.raises(ew.MalformedModel, match=message):
        ew.load_unsigned(content)


@pytest.mark.parametrize("name", ["saved_model.pb", "Manifest.json"])
def test_a_folder_that_holds_a_model_of_another_kind_is_named(tmp_path, name):
    with pytest.raises(IsADirectoryError):
        ew.load_unsigned(tmp_path)
    (tmp_path / name).write_bytes(b"\x08\x01")
    with pytest.raises(ew.MalformedModel, match=r"got a (SavedModel|Core ML model).* \(.+\)"):
        ew.load_unsigned(tmp_path)


def test_the_words_of_another_engine_do_not_matter():
    with pytest.raises(ew.MalformedModel, match="PyTorch"):
        ew.load_unsigned(CONVERTED["pt"][0], engine="litert")


def test_a_package_is_for_load(tmp_path):
    package = sealed.seal(tmp_path / "demo.ewp")
    for source in (package, package.read_bytes()):
        with pytest.raises(ew.BadInput, match="expected a bare model, got a package"):
            ew.load_unsigned(source)


def test_a_file_of_another_kind_is_not_sealed(tmp_path):
    content, noun, _ = CONVERTED["h5"]
    with pytest.raises(ew.MalformedModel, match=re.escape(noun)):
        sealed.seal(tmp_path / "demo.ewp", model=content)
    assert not list(tmp_path.iterdir())


def test_no_beginning_is_one_of_an_onnx():
    # Of ModelProto: the fields that have numbers, and those that have messages or text.
    tags = {1 << 3, 5 << 3} | {number << 3 | 2 for number in (2, 3, 4, 6, 7, 8, 14)}
    beginnings = [beginning for beginning, *_ in foreign_file._BEGINNINGS]
    assert beginnings
    assert not [beginning for beginning in beginnings if beginning[0] in tags]


def test_no_model_of_the_standard_is_foreign():
    root = Path(onnx.__file__).parent / "backend" / "test" / "data"
    paths = list(root.glob("**/*.onnx"))
    assert len(paths) > 50
    for path in paths:
        assert foreign_file.recognised(path.read_bytes()[:HEAD_BYTES]) is None, path


@pytest.mark.parametrize("producer", ["", "pytorch", "tf2onnx", "x" * 200, " " * 127])
def test_no_model_is_foreign_by_its_producer(producer):
    model = onnx.load_from_string(onnx_models.add())
    model.producer_name = producer
    content = model.SerializeToString()
    assert foreign_file.recognised(content[:HEAD_BYTES]) is None
    ew.load_unsigned(content).close()


# --- In the place of a package --------------------------------------------------------------------

NO_PACKAGES = {
    "m.h5": (CONVERTED["h5"][0], "an HDF5 file, as Keras writes (.h5) (tf.lite"),
    "m.pt": (CONVERTED["pt"][0], "a PyTorch file (.pt) (torch.onnx.export"),
    "m.tflite": (tflite_models.add((4,)), "a .tflite model: load_unsigned runs one that nobody"),
    "m.onnx": (onnx_models.add((4,)), "a .onnx model: load_unsigned runs one that nobody signed"),
    "m.ewk": (b"EWKEY\r\n\x01" + bytes(208), "key wraps (.ewk) (name the .ewp that it is beside)"),
    "m.json": (b'{"name": "model"}', "text"),
    "empty.ewp": (b"", "an empty file"),
    "zeros.ewp": (bytes(4096), "one that begins with zeros"),
    "noise.ewp": (b"\xff\x00\x01\x02" * 64, "a file of another kind"),
}


@pytest.mark.parametrize("name", NO_PACKAGES)
@pytest.mark.parametrize(
    "opened", [ew.load, ew.Package.open, ew.Package.authentic, ew.Package.unverified]
)
def test_in_the_place_of_a_package_each_is_named_before_a_trust_root_is_missed(
    tmp_path, monkeypatch, name, opened
):
    monkeypatch.setenv("EDGEWARD_TRUST", str(tmp_path / "no-trust"))
    content, what = NO_PACKAGES[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ew.MalformedPackage) as caught:
        opened(path)
    assert f'package "{path}": expected a sealed package (.ewp), got {what}' in str(caught.value)


def test_a_folder_and_a_mistyped_path_are_named_before_a_trust_root_is_missed(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("EDGEWARD_TRUST", str(tmp_path / "no-trust"))
    folder = tmp_path / "saved"
    folder.mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        ew.load(folder)
    assert caught.value.filename == str(folder)
    (folder / "saved_model.pb").write_bytes(b"x")
    with pytest.raises(ew.MalformedPackage, match=r"got a SavedModel of TensorFlow \(a folder\)"):
        ew.load(folder)
    with pytest.raises(FileNotFoundError) as missing:
        ew.load(tmp_path / "modle.ewp")
    assert missing.value.filename == str(tmp_path / "modle.ewp")


@pytest.mark.parametrize(
    "line",
    ["verify m.h5", "wrap m.h5 --remove k.pub", "resign m.h5 -o n.ewp --key k.key",
     "install m.h5 --into ."],
)  # fmt: skip
def test_commands_name_it_too(tmp_path, monkeypatch, typed, line):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEWARD_TRUST", str(sealed.trust_at(tmp_path / "trust").directory))
    Path("m.h5").write_bytes(CONVERTED["h5"][0])
    sealed.PUBLISHER.write("k.key")
    Path("k.pub").write_text(sealed.DEVICE.public.text)
    status, _, err = typed(line)
    assert (status, "an HDF5 file" in err) == (3, True), err
