"""A slow reader of recipe.json, written from docs/package-format.md and docs/recipes.md alone.

For comparison with the one that models use: `read` gives plain values, every default filled in.
"""

from __future__ import annotations

import json
import math
from typing import Any


class Refused(Exception):  # noqa: N818 - named by what happened
    pass


def require(condition: object, why: str) -> None:
    if not condition:
        raise Refused(why)


def read(data: bytes) -> dict[str, Any]:
    require(len(data) <= 1 << 20, "size")

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        require(len({name for name, _ in items}) == len(items), "a field twice")
        return dict(items)

    try:
        document = json.loads(data, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        raise Refused(str(error)) from None
    require(isinstance(document, dict) and len(document) > 1, "an object")
    require(set(document) <= {"version", "inputs", "boxes"}, "fields")
    require(number(document.get("version"), 1, 1, whole=True) == 1, "version")
    inputs = document.get("inputs", {})
    require(isinstance(inputs, dict), "inputs")
    return {
        "inputs": {name: input_of(value) for name, value in inputs.items()},
        "boxes": boxes_of(document["boxes"]) if "boxes" in document else None,
    }


def number(value: Any, least: float, most: float, *, whole: bool = False) -> Any:
    require(not isinstance(value, bool) and isinstance(value, int if whole else (int, float)), "no")
    require(least <= value <= most and math.isfinite(value), "range")
    return value


def numbers(
    value: Any, counts: set[int], least: float, most: float, **how: bool
) -> tuple[Any, ...]:
    values = value if isinstance(value, list) else [value]
    require(len(values) in counts, "how many")
    return tuple(number(item, least, most, **how) for item in values)


def word(value: Any, words: str) -> Any:
    require(isinstance(value, str) and value in words.split(), "word")
    return value


def fields_of(value: Any, required: str, optional: str) -> dict[str, Any]:
    require(isinstance(value, dict), "an object")
    names = set(required.split())
    require(names <= set(value) <= names | set(optional.split()), "fields")
    return dict(value)


def values_of(fields: dict[str, Any], counts: set[int]) -> Any:
    if not {"mean", "scale"} & set(fields):
        return None
    mean = numbers(fields.get("mean", 0), counts, -1e9, 1e9)
    scale = numbers(fields.get("scale", 1), counts, -1e9, 1e9)
    require(0 not in scale, "a scale of 0")
    return mean, scale


def input_of(value: Any) -> dict[str, Any]:
    require(isinstance(value, dict), "an object")
    if value.get("kind") == "sound":
        return sound_of(value)
    word(value.get("kind"), "picture")
    fields = fields_of(value, "kind", "layout size fit short_side fill filter colours mean scale")
    picture: dict[str, Any] = {
        name: word(fields.get(name, default), words) if name in fields else default
        for name, default, words in (
            ("layout", None, "hw hwc chw nhw nhwc nchw"),
            ("fit", "cover", "cover contain stretch"),
            ("filter", "bilinear", "nearest bilinear bicubic lanczos"),
            ("colours", None, "rgb bgr grey"),
        )
    }
    counts = {1} if picture["colours"] == "grey" else {1, 3}
    picture["size"] = picture["short_side"] = None
    if "size" in fields:
        picture["size"] = numbers(fields["size"], {2}, 1, 16_384, whole=True)
    if "short_side" in fields:
        least = max(picture["size"] or (1,))
        picture["short_side"] = number(fields["short_side"], least, 16_384, whole=True)
        require(picture["fit"] == "cover", "short_side")
    require("fill" not in fields or picture["fit"] == "contain", "fill")
    picture["fill"] = numbers(fields.get("fill", 0), counts, 0, 255, whole=True)
    return {**picture, "values": values_of(fields, counts)}


def sound_of(value: Any) -> dict[str, Any]:
    fields = fields_of(value, "kind rate_hz", "samples step log_mel mean scale")
    rate_hz = number(fields["rate_hz"], 1, 768_000, whole=True)
    lengths = {
        name: number(fields[name], 1, 1 << 25, whole=True) if name in fields else None
        for name in ("samples", "step")
    }
    mel = mel_of(fields["log_mel"], rate_hz) if "log_mel" in fields else None
    return {"rate_hz": rate_hz, **lengths, "log_mel": mel, "values": values_of(fields, {1})}


def mel_of(value: Any, rate_hz: int) -> dict[str, Any]:
    optional = "fft low_hz high_hz filters power pad offset floor log range layout"
    fields = fields_of(value, "window hop bins", optional)
    window = number(fields["window"], 2, 32_768, whole=True)
    fft = 2
    while fft < window:
        fft *= 2
    half_hz = rate_hz / 2
    low_hz = number(fields.get("low_hz", 0), 0, half_hz)
    high_hz = number(fields.get("high_hz", half_hz), 0, half_hz)
    require(low_hz < high_hz, "an end above its beginning")
    highest = number(fields["range"], 0, 1e9) if "range" in fields else None
    return {
        "window": window,
        "hop": number(fields["hop"], 1, 32_768, whole=True),
        "bins": number(fields["bins"], 1, 512, whole=True),
        "fft": number(fields.get("fft", fft), window, 32_768, whole=True),
        "low_hz": low_hz,
        "high_hz": high_hz,
        "filters": word(fields.get("filters", "htk"), "htk htk-hz slaney"),
        "power": number(fields.get("power", 2), 1, 2, whole=True),
        "pad": word(fields.get("pad", "none"), "none zeros reflect"),
        "offset": number(fields.get("offset", 0), 0, 1e9),
        "floor": number(fields.get("floor", 1e-10), 1e-30, 1e9),
        "log": word(fields.get("log", "ln"), "ln log10"),
        "range": highest,
        "layout": word(fields.get("layout", "frames-bins"), "frames-bins bins-frames"),
    }


def boxes_of(value: Any) -> dict[str, Any]:
    require(isinstance(value, dict), "an object")
    layout = word(value.get("layout"), "detections class-scores yolov5 yolov8")
    names = {"detections": "boxes scores classes", "class-scores": "boxes scores"}
    required = names.get(layout, "output")
    optional = "count" if layout == "detections" else ""
    free = "" if required == "output" else "order "
    fields = fields_of(
        value, f"layout {required}", f"{optional} {free} unit least overlap first_class"
    )
    tensors = {name: fields[name] for name in f"{required} {optional}".split() if name in fields}
    require(all(isinstance(name, str) for name in tensors.values()), "names")
    is_yolo = required == "output"
    return {
        "layout": layout,
        "tensors": tensors,
        "order": word(fields.get("order", "xywh" if is_yolo else "yxyx"), "xyxy yxyx xywh"),
        "unit": word(
            fields.get("unit", "pixels" if is_yolo else "normalised"), "normalised pixels"
        ),
        "least": number(fields.get("least", 0.5), 0, 1),
        "overlap": number(fields.get("overlap", 0.5), 0, 1),
        "first_class": number(fields.get("first_class", 0), 0, 65_536, whole=True),
    }
