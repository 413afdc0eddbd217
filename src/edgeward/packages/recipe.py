"""Recipe: how a picture or a sound becomes a model's input, and which outputs are boxes.

recipe.json in a package, as docs/package-format.md, section 9, has it. What breaks a rule there is
refused as a whole: an input that is half prepared gives answers that look right.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from edgeward.errors import BadInput, MalformedPackage

FORMAT_VERSION = 1
MOST_BYTES = 1 << 20
MOST_EXTENT = 16_384  # pixels along a side
MOST_NUMBER = 1e9
MOST_RATE_HZ = 768_000
MOST_SAMPLES = 1 << 25  # of a sound
MOST_FFT = 1 << 15  # samples
MOST_BINS = 512
LEAST_FLOOR = 1e-30
LAYOUTS = ("hw", "hwc", "chw", "nhw", "nhwc", "nchw")
FITS = ("cover", "contain", "stretch")
FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")
COLOURS = {"rgb": 3, "bgr": 3, "grey": 1}  # channels of each
FILTERS_OF_MEL = ("htk", "htk-hz", "slaney")
PADS = ("none", "zeros", "reflect")
LOGS = ("ln", "log10")
MEL_LAYOUTS = ("frames-bins", "bins-frames")
ORDERS = ("xyxy", "yxyx", "xywh")
UNITS = ("normalised", "pixels")
BOX_TENSORS = {  # of each layout, those that must be there; and those that may
    "detections": (("boxes", "scores", "classes"), ("count",)),
    "class-scores": (("boxes", "scores"), ()),
    "yolov5": (("output",), ()),
    "yolov8": (("output",), ()),
}


class Values(NamedTuple):
    """Which number a pixel, 0 to 255, or a sample, -1 to 1, becomes: (value - mean) * scale."""

    mean: Sequence[float]  # one for all channels, or one for each
    scale: Sequence[float]


class PictureInput(NamedTuple):
    """How a picture becomes a tensor. Without a recipe every field has its default."""

    layout: str | None = None  # None: as the shape says
    size: tuple[int, int] | None = None  # height, width; None: the input's, else the picture's own
    fit: str = "cover"
    short_side: int | None = None  # of the whole picture, of which the input is the middle
    fill: Sequence[int] = (0,)  # beside a picture that is contained
    filter: str = "bilinear"
    colours: str | None = None  # None: rgb or grey, by the channels
    values: Values | None = None  # None: as the dtype says


class LogMel(NamedTuple):
    """A front end: a spectrogram's logarithm in bins that are even in mel. Lengths in samples."""

    window: int
    hop: int
    bins: int
    fft: int
    low_hz: float
    high_hz: float
    filters: str = "htk"
    power: int = 2  # of the spectrum's magnitudes
    pad: str = "none"  # around the sound, so that frames have their middle at a multiple of hop
    offset: float = 0.0  # added before the logarithm
    floor: float = 1e-10  # the least of which a logarithm is taken
    log: str = "ln"
    range: float | None = None  # of the logarithms below the greatest one
    layout: str = "frames-bins"


class SoundInput(NamedTuple):
    """How a sound becomes a tensor. `values` are of the samples, or of the logarithms."""

    rate_hz: int
    samples: int | None = None  # None: as many as the input has room for
    step: int | None = None  # samples from window to window; None: the first window alone
    log_mel: LogMel | None = None
    values: Values | None = None


class BoxOutputs(NamedTuple):
    """Which outputs are boxes, and which of them count."""

    layout: str
    tensors: Mapping[str, str]  # what it holds, such as "boxes": the output's name
    order: str
    unit: str
    least: float = 0.5  # score
    overlap: float = 0.5  # of two boxes of a class, beyond which the one of the lower score goes
    first_class: int = 0  # the class whose name is the first label


class Recipe(NamedTuple):
    inputs: Mapping[str, PictureInput | SoundInput]  # by name, of the first signature
    boxes: BoxOutputs | None = None


def to_bytes(document: Mapping[str, Any]) -> bytes:
    """recipe.json of a document that may lack its version. Raises BadInput."""
    try:
        full = {"version": FORMAT_VERSION, **document}
        recipe_of(full)
        return json.dumps(full, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError) as error:
        raise BadInput(f"recipe: {error}") from None


def from_bytes(data: bytes, where: str) -> Recipe:
    """Raises MalformedPackage, beginning with `where`, which also a later version is."""
    try:
        if len(data) > MOST_BYTES:
            raise ValueError(f"expected at most {MOST_BYTES} bytes, got {len(data)}")
        return recipe_of(json.loads(data, object_pairs_hook=_once, parse_constant=_no_number))
    except (ValueError, RecursionError) as error:
        raise MalformedPackage(f"{where}: recipe.json: {error}") from None


def recipe_of(document: Any) -> Recipe:
    """Raises ValueError for what is no recipe."""
    version = document.get("version") if isinstance(document, dict) else None
    if type(version) is not int or version != FORMAT_VERSION:
        raise ValueError(f"expected version {FORMAT_VERSION}, got {_shown(version)}")
    fields = _fields("recipe", document, ("version",), ("inputs", "boxes"))
    if len(fields) < 2:
        raise ValueError('expected "inputs" or "boxes", got neither')
    inputs = fields.get("inputs", {})
    if not isinstance(inputs, dict):
        raise ValueError(f"inputs: expected an object, got {_shown(inputs)}")
    return Recipe(
        {name: _input(name, value) for name, value in inputs.items()},
        _boxes(fields["boxes"]) if "boxes" in fields else None,
    )


def _input(name: str, value: Any) -> PictureInput | SoundInput:
    where = f'input "{name}"'
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind == "sound":
        return _sound(where, value)
    if kind != "picture":
        raise ValueError(f'{where}: kind: expected "picture" or "sound", got {_shown(kind)}')
    optional = ("layout", "size", "fit", "short_side", "fill", "filter", "colours", "mean", "scale")
    fields = _fields(where, value, ("kind",), optional)
    words = {"layout": LAYOUTS, "fit": FITS, "filter": FILTERS, "colours": tuple(COLOURS)}
    for field, known in words.items():
        if field in fields:
            _word(f"{where}: {field}", fields[field], known)
    channels = COLOURS.get(fields.get("colours", "rgb"), 3)
    size, short_side = fields.get("size"), fields.get("short_side")
    if "size" in fields:
        pair = _list(f"{where}: size", size, (2,))
        size = tuple(_whole(f"{where}: size", extent, 1, MOST_EXTENT) for extent in pair)
    if "short_side" in fields:
        least = 1 if size is None else max(size)
        _whole(f"{where}: short_side", short_side, least, MOST_EXTENT)
    fit = fields.get("fit", "cover")
    for field, needed in (("short_side", "cover"), ("fill", "contain")):
        if field in fields and fit != needed:
            raise ValueError(f'{where}: {field}: expected fit "{needed}" with it, got "{fit}"')
    fill = _list(f"{where}: fill", fields.get("fill", [0]), (1, channels))
    return PictureInput(
        layout=fields.get("layout"),
        size=size,
        fit=fit,
        short_side=short_side,
        fill=tuple(_whole(f"{where}: fill", level, 0, 255) for level in fill),
        filter=fields.get("filter", "bilinear"),
        colours=fields.get("colours"),
        values=_values(where, fields, channels),
    )


def _sound(where: str, value: Any) -> SoundInput:
    optional = ("samples", "step", "log_mel", "mean", "scale")
    fields = _fields(where, value, ("kind", "rate_hz"), optional)
    rate_hz = _whole(f"{where}: rate_hz", fields["rate_hz"], 1, MOST_RATE_HZ)
    for field in ("samples", "step"):
        if field in fields:
            _whole(f"{where}: {field}", fields[field], 1, MOST_SAMPLES)
    mel = _log_mel(f"{where}: log_mel", fields["log_mel"], rate_hz) if "log_mel" in fields else None
    return SoundInput(
        rate_hz, fields.get("samples"), fields.get("step"), mel, _values(where, fields, 1)
    )


def _log_mel(where: str, value: Any, rate_hz: int) -> LogMel:
    optional = ("fft", "low_hz", "high_hz", "filters", "power", "pad", "offset", "floor", "log")
    fields = _fields(where, value, ("window", "hop", "bins"), (*optional, "range", "layout"))
    window = _whole(f"{where}: window", fields["window"], 2, MOST_FFT)
    fft = fields.get("fft", 1 << (window - 1).bit_length())
    high_hz = _number(f"{where}: high_hz", fields.get("high_hz", rate_hz / 2), 0, rate_hz / 2)
    low_hz = _number(f"{where}: low_hz", fields.get("low_hz", 0), 0, high_hz)
    if low_hz == high_hz:
        raise ValueError(f"{where}: low_hz: expected less than high_hz, got {low_hz:g}")
    words = {"filters": FILTERS_OF_MEL, "pad": PADS, "log": LOGS, "layout": MEL_LAYOUTS}
    for field, known in words.items():
        if field in fields:
            _word(f"{where}: {field}", fields[field], known)
    numbers: dict[str, Any] = {
        field: _number(f"{where}: {field}", fields[field], least)
        for field, least in (("offset", 0.0), ("floor", LEAST_FLOOR), ("range", 0.0))
        if field in fields
    }
    return LogMel(
        window=window,
        hop=_whole(f"{where}: hop", fields["hop"], 1, MOST_FFT),
        bins=_whole(f"{where}: bins", fields["bins"], 1, MOST_BINS),
        fft=_whole(f"{where}: fft", fft, window, MOST_FFT),
        low_hz=low_hz,
        high_hz=high_hz,
        power=_whole(f"{where}: power", fields.get("power", 2), 1, 2),
        **{field: fields[field] for field in words if field in fields},
        **numbers,
    )


def _values(where: str, fields: Mapping[str, Any], channels: int) -> Values | None:
    if "mean" not in fields and "scale" not in fields:
        return None
    numbers = {}
    for field, default in (("mean", 0.0), ("scale", 1.0)):
        listed = _list(f"{where}: {field}", fields.get(field, [default]), (1, channels))
        numbers[field] = tuple(_number(f"{where}: {field}", number) for number in listed)
    if 0 in numbers["scale"]:
        raise ValueError(f"{where}: scale: expected numbers that are not 0, got 0")
    return Values(**numbers)


def _boxes(value: Any) -> BoxOutputs:
    layout = value.get("layout") if isinstance(value, dict) else None
    _word("boxes: layout", layout, tuple(BOX_TENSORS))
    required, optional = BOX_TENSORS[str(layout)]
    further = ("order", "unit", "least", "overlap", "first_class")
    fields = _fields("boxes", value, ("layout", *required), (*optional, *further))
    is_yolo = required == ("output",)
    if is_yolo and "order" in fields:
        raise ValueError(f'boxes: order: expected none with layout "{layout}", got one')
    for tensor in (*required, *optional):
        if not isinstance(fields.get(tensor, ""), str):
            raise ValueError(f"boxes: {tensor}: expected a name, got {_shown(fields[tensor])}")
    order = fields.get("order", "xywh" if is_yolo else "yxyx")
    unit = fields.get("unit", "pixels" if is_yolo else "normalised")
    _word("boxes: order", order, ORDERS)
    _word("boxes: unit", unit, UNITS)
    shares = {
        field: _number(f"boxes: {field}", fields.get(field, 0.5), 0, 1)
        for field in ("least", "overlap")
    }
    first_class = _whole("boxes: first_class", fields.get("first_class", 0), 0, 1 << 16)
    tensors = {name: fields[name] for name in (*required, *optional) if name in fields}
    return BoxOutputs(str(layout), tensors, order, unit, **shares, first_class=first_class)


# --- values of a document ------------------------------------------------------------------------


def _fields(
    where: str, value: Any, required: Sequence[str], optional: Sequence[str]
) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected an object, got {_shown(value)}")
    unknown = [name for name in value if name not in (*required, *optional)]
    missing = [name for name in required if name not in value]
    if unknown:
        raise ValueError(
            f"{where}: expected fields among {', '.join((*required, *optional))}, "
            f"got {_shown(unknown[0])}"
        )
    if missing:
        raise ValueError(f'{where}: expected a field "{missing[0]}", got none')
    return value


def _word(where: str, value: Any, known: Sequence[str]) -> None:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{where}: expected {' or '.join(known)}, got {_shown(value)}")


def _whole(where: str, value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{where}: expected a number from {least} to {most}, got {_shown(value)}")
    return value


def _number(
    where: str, value: Any, least: float = -MOST_NUMBER, most: float = MOST_NUMBER
) -> float:
    if type(value) not in (int, float) or not least <= value <= most:
        raise ValueError(
            f"{where}: expected a number from {least:g} to {most:g}, got {_shown(value)}"
        )
    return float(value)


def _list(where: str, value: Any, counts: Sequence[int]) -> Sequence[Any]:
    """As many values as one of `counts` says; a number alone is a list of it."""
    values = value if isinstance(value, (list, tuple)) else [value]
    if len(values) not in counts:
        raise ValueError(
            f"{where}: expected {' or '.join(map(str, sorted(set(counts))))} numbers, "
            f"got {_shown(value)}"
        )
    return values


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, str) else f'"{value}"'
    return text if len(text) <= 40 else text[:38] + ".."


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("expected each field once, got one twice")
    return fields


def _no_number(word: str) -> Any:
    raise ValueError(f"expected numbers that are finite, got {word}")
