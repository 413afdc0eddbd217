"""`edgeward predict`: one run of a model, from files to outputs that are shown or written."""

from __future__ import annotations

import argparse
import math
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

from edgeward import Model, Signature
from edgeward.commands.named_model import opener
from edgeward.commands.options import add_engine, add_trust, whole_number
from edgeward.engines.choice import MAX_THREADS
from edgeward.errors import BadInput
from edgeward.inputs import tensor_file
from edgeward.inputs.recipe_file import read_recipe
from edgeward.inputs.tensor_file import Tensor
from edgeward.outcome import Outcome
from edgeward.packages import carried
from edgeward.packages.input_plan import require_fit
from edgeward.packages.recipe import Recipe, from_bytes, to_bytes
from edgeward.reports import inspection

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
    add_engine(parser, "the one for this kind of file")
    add_argument("--threads", type=whole_number(1, MAX_THREADS), metavar="N", help="engine threads")
    add_argument("--dtype", help="element type of raw files (default: the input's)")
    add_argument("--shape", type=_shape, help="shape of raw files (default: the input's)")
    add_argument(
        "--recipe",
        metavar="FILE",
        type=Path,
        help="how pictures and sounds become inputs of a bare model, as seal takes it",
    )
    add_argument("--signature", metavar="NAME", help="which signature (default: the first)")
    add_trust(parser)


def run(args: argparse.Namespace) -> Outcome:
    with opener(args)(args.threads) as model:
        signature = _signature(model, args.signature)
        if args.output is not None:
            tensor_file.expect_writable(args.output, [spec.name for spec in signature.outputs])
        recipe = _recipe(args, model, signature)
        tensors = tensor_file.read(
            args.inputs, signature.inputs, args.dtype, args.shape, recipe.inputs
        )
        outputs = _outputs(model, signature, tensors)
        engine, labels = inspection.engine_report(model), model.labels or ()
        package = inspection.package_report(model)
    report = {
        "model": args.model,
        "package": package,
        "engine": engine,
        "signature": signature.name,
        "outputs": {
            spec.name: inspection.values_report(spec, outputs[spec.name], labels)
            for spec in signature.outputs
        },
    }
    if args.output is not None:
        tensor_file.write(args.output, outputs)
        return Outcome(report, f"wrote {args.output}")
    bar = "━" if "utf" in (sys.stdout.encoding or "").lower() else "="
    texts = [
        inspection.values_text(spec, outputs[spec.name], bar, labels) for spec in signature.outputs
    ]
    return Outcome(report, "\n\n".join(texts))


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
