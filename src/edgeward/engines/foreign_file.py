"""What a file is that is no model, or no package: told by its first bytes, hardly by its name.

A .tflite and an .ort carry an identifier. An .onnx carries none, so that whatever this does not
know is read as one, and the check of that format has the last word.
"""

import re
from pathlib import Path
from typing import NamedTuple

from edgeward import _core
from edgeward.errors import BadInput, MalformedModel, MalformedPackage

FORMATS = "a .tflite, .onnx or .ort file"
PACKAGE = "a package (edgeward.load opens it)"

_KERAS = "tf.lite.TFLiteConverter.from_keras_model or tf2onnx converts the model in it"
_TENSORFLOW = "tf.lite.TFLiteConverter or tf2onnx converts it"
_TORCH = "torch.onnx.export writes the model in it as .onnx"
_PICKLE = "torch.onnx.export or skl2onnx converts the model in it"
_WEIGHTS = "weights without a graph: export the model that they belong to, with torch.onnx.export"
_TENSORRT = "built for one kind of GPU: use the .onnx that it was built from"
_CORE_ML = "onnxmltools converts it, or export the model that it was made from"
_BOOSTED = "onnxmltools converts the model in it"
_CATBOOST = 'save_model(path, format="onnx") writes the model in it as .onnx'
_GGUF = "optimum-cli export onnx converts the model that it was made from"

# What files begin with. No field of an .onnx has the first byte of any of them.
_BEGINNINGS = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes (.h5)", _KERAS),
    (b"GGUF", "a GGUF file", _GGUF),
    (bytes(64), "one that begins with zeros", ""),
    (b"ftrt", "a TensorRT engine", _TENSORRT),
    (b"ptrt", "a TensorRT engine", _TENSORRT),
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "a PyTorch file (.pt)", _TORCH),
    (b"CBM1", "a CatBoost file (.cbm)", _CATBOOST),
    (b"{L\0\0\0\0\0\0\0\x07learner", "an XGBoost file (.ubj)", _BOOSTED),
    (b'{"learner":', "an XGBoost file (.json)", _BOOSTED),
    (b"tree\nversion=", "a LightGBM file (.txt)", _BOOSTED),
    (b"\x1f\x8b", "a gzip file", "unpack it"),
    (b"\x93NUMPY", "an array of numpy (.npy)", ""),
    (b"\xff\xd8\xff", "a JPEG picture", ""),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture", ""),
    (b"\x7fELF", "a program or library", ""),
    (b"EWKEY\r\n", "key wraps (.ewk)", "name the .ewp that it is beside"),
    (b"EWSEG", "a segment of captures", ""),
    (b"EWRING", "a ring of captures", ""),
    (b"EWSTAT", "statistics of captures", ""),
    (b"EWSTSL", "statistics of captures", ""),
    (b"version https://git-lfs", "a pointer of Git LFS", "git lfs pull fetches the file itself"),
    (b"edgeward-private-key ", "a private key", ""),
    (b"edgeward-public-key ", "a public key", ""),
)
_TEXT_SPACE = b"\t\n\f\r"


class Foreign(NamedTuple):
    """A kind of file, as a noun, and what makes a model of it that runs here ("": nothing)."""

    noun: str
    conversion: str


# Folders are told by a file in them.
_FOLDERS = {
    "saved_model.pb": Foreign("a SavedModel of TensorFlow (a folder)", _TENSORFLOW),
    "Manifest.json": Foreign("a Core ML model (.mlpackage)", _CORE_ML),
}


def require_model(head: bytes) -> None:
    """Raises MalformedModel for a file that begins with `head` and is of another kind.

    BadInput when it is a package.
    """
    if head.startswith(_core.PACKAGE_MAGIC):
        raise BadInput(f"model: expected a bare model, got {PACKAGE}")
    foreign = recognised(head)
    if foreign is not None:
        raise _refusal(foreign)


def require_file(path: str) -> None:
    """Raises MalformedModel for a folder that holds a model of another kind."""
    foreign = _folder(path)
    if foreign is not None:
        raise _refusal(foreign)


def require_package(head: bytes, path: str) -> None:
    """Raises MalformedPackage for a file at `path` that begins with `head` and is no package."""
    if head.startswith(_core.PACKAGE_MAGIC):
        return
    kind, foreign = _core.model_format(head), recognised(head)
    if kind in ("tflite", "ort") or (foreign is None and path.endswith(".onnx")):
        raise not_a_package(path, f"a .{kind} model: load_unsigned runs one that nobody signed")
    raise not_a_package(path, _phrase(foreign) if foreign else "a file of another kind")


def require_package_file(path: str) -> None:
    """Raises MalformedPackage for a folder that holds a model of another kind."""
    foreign = _folder(path)
    if foreign is not None:
        raise not_a_package(path, _phrase(foreign))


def not_a_package(path: str, what: str) -> MalformedPackage:
    return MalformedPackage(f'package "{path}": expected a sealed package (.ewp), got {what}')


def _folder(path: str) -> Foreign | None:
    kinds = (kind for name, kind in _FOLDERS.items() if Path(path, name).is_file())
    return next(kinds, None)


def _refusal(foreign: Foreign) -> MalformedModel:
    return MalformedModel(f"model: expected {FORMATS}, got {_phrase(foreign)}")


def _phrase(foreign: Foreign) -> str:
    return f"{foreign.noun} ({foreign.conversion})" if foreign.conversion else foreign.noun


def recognised(head: bytes) -> Foreign | None:
    """The kind of a file that begins with `head`; None for one that may be an .onnx.

    `head` is the whole file, or enough of it: 4 KiB.
    """
    if not head:
        return Foreign("an empty file", "")
    for beginning, noun, conversion in _BEGINNINGS:
        if head.startswith(beginning):
            return Foreign(noun, conversion)
    if head.startswith(b"PK\x03\x04"):
        return _archive(head)
    if re.match(rb"\x80[\x02-\x05][\x80-\x95(}\]c]", head):
        return Foreign("a pickle of Python", _PICKLE)
    if re.match(rb".{5}\x00{3}\{", head, re.DOTALL):
        return Foreign("a safetensors file", _WEIGHTS)
    if re.match(rb'..\x00\x00\{"', head, re.DOTALL):  # a description in JSON stands before it
        return Foreign("a TensorRT engine", _TENSORRT)
    if _is_text(head):
        return Foreign("text", "")
    return _protobuf(head)


def _archive(head: bytes) -> Foreign:
    """A ZIP archive by the name of its first file."""
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    if re.fullmatch(
        rb"[^/]+/(data\.pkl|data/\d+|version|byteorder|\..+|code/.+|constants\.pkl)", name
    ):
        return Foreign("a PyTorch file (.pt)", _TORCH)
    if name in (b"metadata.json", b"config.json", b"model.weights.h5"):
        return Foreign("a Keras file (.keras)", _KERAS)
    if name.endswith(b".npy"):
        return Foreign("arrays of numpy (.npz)", "")
    return Foreign("a ZIP archive", "")


def _protobuf(head: bytes) -> Foreign | None:
    """Messages of other schemas: each begins with fields that no ModelProto has."""
    number = rb"[\x80-\xff]*[\x00-\x7f]"
    if re.match(rb"\n%b\n" % number, head):
        return Foreign("a graph of TensorFlow (.pb)", _TENSORFLOW)
    # A version, then a message where an .onnx has the name of its producer.
    match = re.match(rb"\x08([\x01-\x7f])\x12%b\n%b(.?)" % (number, number), head, re.DOTALL)
    if match is None:
        return None
    # A Core ML model goes on with the name of its first input, a SavedModel with operators or tags.
    if match[1] == b"\x01" and match[2] != b"\n":
        return Foreign("a SavedModel of TensorFlow (.pb)", _TENSORFLOW)
    return Foreign("a Core ML model (.mlmodel)", _CORE_ML)


def _is_text(head: bytes) -> bool:
    text = head.decode("utf-8", "ignore")  # the last character may be cut
    is_whole = len(text.encode()) > len(head) - 4
    shown = text.translate(dict.fromkeys(_TEXT_SPACE))
    return bool(shown) and is_whole and shown.isprintable()
