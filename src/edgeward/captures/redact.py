"""Redact: what records leave out of tensors. The core applies it in the copy from tensor to ring.

    faces = redact.Boxes("boxes", order="yxyx", unit="normalised", scores="scores", least=0.3)
    ew.Capture("captures", redact=[
        redact.blank("image", faces, margin=0.1), redact.downsample("image", 2),
        redact.hash("badge", key), redact.drop("embedding"),
    ])

What is left out is in no ring, so in no segment either. Statistics count whole tensors, except
those that are hashed. drop, first and hash stand alone on their tensor; any number of blank and
keep_regions go together, and with one downsample: what any of them blanks is blank, and boxes
count in the model's pixels. The order of rules means nothing.
"""

from collections.abc import Iterable
from typing import Any

from edgeward import _core
from edgeward.captures.limits import require_number
from edgeward.errors import BadInput

INT64 = (-1 << 63, 1 << 63)
KEY_BYTES = 32


class Boxes:
    """Which boxes of a detector's outputs count. Immutable.

    `output` is [count, 4], with one or two dimensions before it at most; with several images in a
    tensor, the first dimension counts them. `order` is "xyxy" (left, top, right, bottom) or "yxyx"
    (top, left, bottom, right), `unit` "pixels" of the image as the model sees it, or "normalised":
    from 0 to 1. There is no default, since boxes that are misread leave out other pixels.

    A box counts when its value in the output `scores` is at least `least`, when that in `classes`
    is one of `among`, and when it is one of the first so many that the output `count` says, a value
    for each image. Quantised outputs are scaled first.
    """

    __slots__ = ("_fields",)

    def __init__(
        self,
        output: str,
        *,
        order: str,
        unit: str,
        scores: str = "",
        least: float = 0.0,
        classes: str = "",
        among: Iterable[int] = (),
        count: str = "",
    ) -> None:
        """Raises BadInput."""
        numbers = list(among)
        for number in numbers:
            require_number("among", number, *INT64)
        self._fields = {
            "output": output, "order": order, "unit": unit, "scores": scores,
            "least": float(least), "classes": classes, "among": numbers, "count": count,
        }  # fmt: skip
        self.core()

    def core(self) -> _core.Boxes:
        """The same, as the core takes it."""
        boxes = _core.Boxes()
        for name, value in self._fields.items():
            setattr(boxes, name, value)
        return boxes

    def report(self) -> dict[str, Any]:
        """What was set, for JSON."""
        return {name: value for name, value in self._fields.items() if value}


class Redaction:
    """A rule for one tensor. The functions below make them; immutable."""

    __slots__ = ("_boxes", "_fields", "_key", "_margin", "kind", "tensor")

    def __init__(
        self,
        kind: str,
        tensor: str,
        boxes: Boxes | None = None,
        margin: float = 0.0,
        key: bytes = b"",
        **fields: str | int,
    ) -> None:
        self.kind, self.tensor = kind, tensor
        self._boxes, self._margin, self._key, self._fields = boxes, margin, key, fields

    def core(self) -> _core.RedactionRule:
        """The same rule, as the core takes it."""
        rule = _core.RedactionRule()
        rule.kind, rule.tensor = self.kind, self.tensor
        if self._boxes is not None:
            boxes = self._boxes.core()
            boxes.margin = self._margin
            rule.boxes = boxes
        for name, value in self._fields.items():
            setattr(rule, name, value)
        if self.kind == "hash":
            rule.set_key(self._key)
        return rule

    def report(self) -> dict[str, Any]:
        """The rule without its key, for JSON: what the description of a ring says."""
        report: dict[str, Any] = {"rule": self.kind, "tensor": self.tensor}
        if self._boxes is not None:
            report |= {"boxes": self._boxes.report(), "margin": self._margin}
        return report | {name: value for name, value in self._fields.items() if value != ""}


def drop(tensor: str) -> Redaction:
    """Records lack the tensor; statistics count it."""
    return Redaction("drop", tensor)


def blank(tensor: str, boxes: Boxes, *, margin: float = 0.0, layout: str = "") -> Redaction:
    """The pixels that the boxes touch are zero in the image `tensor`.

    `margin` is added on each side, in parts of the box's width and height. `layout` names the axes
    of the tensor: "hw", "hwc", "chw", "nhw", "nhwc" or "nchw"; it may be left out where only one of
    them has 1 to 4 channels. The whole tensor is blank when boxes cannot be read: a box, score,
    class or count is NaN, a box is infinite or ends before it begins, more than 1,024 boxes of an
    image count, numbers of boxes do not agree, or the run failed.
    """
    return Redaction("blank", tensor, boxes, float(margin), layout=layout)


def keep_regions(tensor: str, boxes: Boxes, *, margin: float = 0.0, layout: str = "") -> Redaction:
    """The pixels that are not in a box as a whole are zero; else as blank() says."""
    return Redaction("keep_regions", tensor, boxes, float(margin), layout=layout)


def downsample(tensor: str, factor: int, *, layout: str = "") -> Redaction:
    """One pixel of each `factor` in a row, of each `factor`-th row, of the image `tensor`."""
    require_number("factor", factor, 2, INT64[1])
    return Redaction("downsample", tensor, factor=factor, layout=layout)


def first(tensor: str, count: int, *, axis: int = -1) -> Redaction:
    """The first `count` along `axis`, or all where there are less."""
    require_number("count", count, 1, INT64[1])
    require_number("axis", axis, *INT64)
    return Redaction("first", tensor, count=count, axis=axis)


def hash(tensor: str, key: bytes) -> Redaction:
    """HMAC-SHA256 of the tensor's bytes, uint8 [32]: the same for the same value and `key`.

    It is what `hmac.digest(key, array.tobytes(), "sha256")` gives. `key` is 32 bytes, from
    `secrets.token_bytes(32)`; it is written nowhere. Whoever has it can find a value out among
    those that are likely. Statistics do not count the tensor.
    """
    if not isinstance(key, bytes) or len(key) != KEY_BYTES:
        kind = type(key).__name__
        size = f" of {len(key)}" if isinstance(key, bytes) else ""
        raise BadInput(f"redact: key: expected {KEY_BYTES} bytes, got {kind}{size}")
    return Redaction("hash", tensor, key=key)
