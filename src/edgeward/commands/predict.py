"""`edgeward predict`: one run of a model, from files to outputs that are shown or written."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgeward import Model, Signature
from edgeward.commands.named_model import opener
from edgeward.commands.options import add_running_engine, add_trust, whole_number
from edgeward.engines.choice import MAX_THREADS
from edgeward.errors import BadInput
from edgeward.inputs import tensor_file
from edgeward.inputs.recipe_file import read_recipe
from edgeward.inputs.tensor_file import Tensor
from edgeward.outcome import Outcome
from edgeward.packages import carried
from edgeward.packages.input_plan import require_fit
from edgeward.packages.recipe import Recipe, from_bytes, to_bytes
from edgeward.reports import boxes, heard_windows, inspection
from edgeward.reports.heard_windows import HeardWindow, stacked
from edgeward.reports.shown_input import ShownInput
from edgeward.terminal.picture import pillow_image

MAX_ELEMENTS = (1 << 31) - 1


def add(parser: argparse.ArgumentParser) -> None:
    add_argument = parser.add_argument
    add_argument("model", metavar="MODEL", help="a .tflite, .onnx, .ort or .ewp file")
    add_argument(
        "inputs",
        metavar="INPUT",
        nargs="*",
        help="FILE or NAME=FILE: .npy, .npz, a picture, .wav, or raw bytes in .bin or .raw; "
        "none for a model without inputs",
    )
    add_argument("-o", "--output", metavar="OUT", type=Path, help="a .npz or .npy file")
    add_running_engine(parser)
    add_argument("--threads", type=whole_number(1, MAX_THREADS), metavar="N", help="engine threads")
    add_argument("--dtype", help="element type of raw files (default: the input's)")
    add_argument("--shape", type=_shape, help="shape of raw files (default: the input's)")
    add_argument(
        "--recipe",
        metavar="FILE",
        type=Path,
        help="how pictures and sounds become inputs of a bare model, as seal takes it",
    )
    add_argument(
        "--labels", metavar="FILE", type=Path, help="names of a bare model's classes, one on a line"
    )
    add_argument(
        "--png",
        metavar="FILE",
        type=Path,
        help="draw the picture with its boxes or labels, or the sound's spectrogram",
    )
    add_argument("--signature", metavar="NAME", help="which signature (default: the first)")
    add_trust(parser)


def run(args: argparse.Namespace) -> Outcome:
    with opener(args)(args.threads) as model:
        signature = _signature(model, args.signature)
        if args.output is not None:
            tensor_file.expect_writable(args.output, [spec.name for spec in signature.outputs])
        recipe, labels = _recipe(args, model, signature), _labels(args, model, signature)
        tensors = tensor_file.read(
            args.inputs, signature.inputs, args.dtype, args.shape, recipe.inputs
        )
        shown = ShownInput.among(args.inputs, signature, recipe)
        if args.png is not None:
            _require_shown(args, shown)
        windows = shown.windows() if shown is not None else ()
        heard = [
            HeardWindow(begin_s, end_s, _outputs(model, signature, {**tensors, **named}))
            for begin_s, end_s, named in windows
        ]
        outputs = {} if heard else _outputs(model, signature, tensors)
        report = {
            "model": args.model,
            "package": inspection.package_report(model),
            "engine": inspection.engine_report(model),
            "signature": signature.name,
        }
    answer = _Answer(args, signature, labels, report, outputs, shown)
    text = _heard(answer, shown, heard) if shown and heard else _seen(answer, recipe)
    wrote = []
    if args.output is not None:
        tensor_file.write(args.output, stacked(heard) if heard else outputs)
        wrote.append(f"wrote {args.output}")
    if args.png is not None:
        report["png"] = str(args.png)
        wrote.append(f"wrote {args.png}")
    return Outcome(
        report, "\n".join(wrote) if args.output is not None else "\n\n".join([text, *wrote])
    )


class _Answer(NamedTuple):
    args: argparse.Namespace
    signature: Signature
    labels: Sequence[str]
    report: dict[str, Any]  # what the document has of it
    outputs: dict[str, Tensor]
    shown: ShownInput | None


def _heard(answer: _Answer, shown: ShownInput, heard: Sequence[HeardWindow]) -> str:
    """What is shown of the windows of a sound; adds them to the document, draws a --png."""
    signature, labels = answer.signature, answer.labels
    answer.report["windows"] = heard_windows.report(heard, signature, labels)
    if answer.args.png is not None:
        shown.write_heard(answer.args.png, (), heard_windows.spans(heard, signature, labels))
    return heard_windows.text(heard, signature, labels, shown.path.name, _bar())


def _seen(answer: _Answer, recipe: Recipe) -> str:
    """What is shown of one run; adds the outputs to the document, draws a --png."""
    _, signature, labels, report, outputs, shown = answer
    report["outputs"] = {
        spec.name: inspection.values_report(spec, outputs[spec.name], labels)
        for spec in signature.outputs
    }
    how = recipe.boxes or boxes.postprocess_outputs(signature)
    seen = shown.boxes(how, outputs, labels) if shown is not None and how is not None else None
    if seen is not None:
        report["boxes"] = boxes.report(seen)
    if answer.args.png is not None and shown is not None:
        shown.write_png(answer.args.png, seen, _best_lines(signature, outputs, labels))
    if seen is not None and how is not None and shown is not None:
        return boxes.text(seen, how, shown.path.name, shown.size)
    return "\n\n".join(
        inspection.values_text(spec, outputs[spec.name], _bar(), labels)
        for spec in signature.outputs
    )


def _bar() -> str:
    return "━" if "utf" in (sys.stdout.encoding or "").lower() else "="


def _best_lines(
    signature: Signature, outputs: dict[str, Tensor], labels: Sequence[str]
) -> list[str]:
    """The best labels behind their scores: what stands below a picture."""
    return [
        f"{inspection.number(best['score'])}  {inspection.shortened(best['label'])}"
        for spec in signature.outputs
        for best in inspection.values_report(spec, outputs[spec.name], labels).get("best", ())
    ]


def _require_shown(args: argparse.Namespace, shown: ShownInput | None) -> None:
    """Raises BadInput for a --png of nothing, before the work."""
    if shown is None:
        raise BadInput("--png: expected a picture or a .wav among the inputs, got none")
    pillow_image()
    os.stat(args.png.parent)


def _labels(args: argparse.Namespace, model: Model, signature: Signature) -> Sequence[str]:
    """Those of the package, or those in a file; none without."""
    if args.labels is None:
        return model.labels or ()
    if model.package_id is not None:
        raise BadInput(f"--labels: expected them with a bare model, got a package: {args.model}")
    lines: list[str] = args.labels.read_text(encoding="utf-8").splitlines()
    carried.require_labels(lines, [signature])
    return lines


def _recipe(args: argparse.Namespace, model: Model, signature: Signature) -> Recipe:
    """That of the package, or the one in a file; an empty one without."""
    if args.recipe is None:
        return carried.recipe(model) or Recipe({})
    if model.package_id is not None:
        raise BadInput(f"--recipe: expected it with a bare model, got a package: {args.model}")
    content = to_bytes(read_recipe(args.recipe))
    recipe = from_bytes(content, str(args.recipe))
    require_fit(recipe, signature)
    return recipe


def _signature(model: Model, name: str | None) -> Signature:
    """The signature called `name`, or the first. Raises BadInput."""
    if name is None:
        return next(iter(model.signatures.values()))
    if name not in model.signatures:
        known = ", ".join(f'"{known}"' for known in model.signatures)
        raise BadInput(f'option "--signature": expected one of {known}, got "{name}"')
    return model.signatures[name]


def _outputs(model: Model, signature: Signature, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """One run of `signature`, the outputs by name. Raises as Model.predict does."""
    if signature.name != next(iter(model.signatures)):
        return _outputs_of_session(model, signature, tensors)
    answer = model.predict(tensors)
    return answer if isinstance(answer, dict) else {signature.outputs[0].name: answer}


def _outputs_of_session(
    model: Model, signature: Signature, tensors: dict[str, Tensor]
) -> dict[str, Tensor]:
    names = [spec.name for spec in signature.inputs]
    if set(tensors) != set(names):
        raise BadInput(f"signature {signature.name}: expected inputs {names}, got {list(tensors)}")
    with model.session(signature.name) as session:
        dynamic = [spec.name for spec in signature.inputs if spec.shape is None or -1 in spec.shape]
        session.resize({name: tensors[name].shape for name in dynamic})
        for name, view in session.inputs.items():
            tensor = tensors[name]
            if (tensor.dtype, tensor.shape) != (view.dtype, view.shape):
                raise BadInput(
                    f'input "{name}": expected {view.dtype} {list(view.shape)}, '
                    f"got {tensor.dtype} {list(tensor.shape)}"
                )
            np.copyto(view, tensor)
        session.run()
        return {name: view.copy() for name, view in session.outputs.items()}


def _shape(text: str) -> tuple[int, ...]:
    with suppress(ValueError):
        sizes = tuple(int(part) for part in text.split(","))
        if min(sizes) >= 0 and math.prod(sizes) <= MAX_ELEMENTS:
            return sizes
    raise argparse.ArgumentTypeError(
        f'expected sizes such as 1,49,10,1, of at most {MAX_ELEMENTS} elements, got "{text}"'
    )
