"""`edgeward predict`: one run of a model, from files to outputs that are shown or written."""

from __future__ import annotations

import argparse
import math
import os
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

from edgeward import Model, Signature, load, load_unsigned
from edgeward.commands.options import TRUST_DIRECTORY, add_engine, whole_number
from edgeward.engines.choice import MAX_THREADS
from edgeward.errors import BadInput
from edgeward.inputs import tensor_file
from edgeward.inputs.tensor_file import Tensor
from edgeward.outcome import Outcome
from edgeward.packages.package import is_package
from edgeward.reports import inspection

MAX_ELEMENTS = (1 << 31) - 1


def add(parser: argparse.ArgumentParser) -> None:
    add_argument = parser.add_argument
    add_argument("model", metavar="MODEL", help="a .tflite, .onnx, .ort or .ewp file")
    add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help="FILE or NAME=FILE: .npy, .npz, a picture, or raw bytes in .bin or .raw",
    )
    add_argument("-o", "--output", metavar="OUT", type=Path, help="a .npz or .npy file")
    add_engine(parser, "the one for this kind of file")
    add_argument("--threads", type=whole_number(1, MAX_THREADS), metavar="N", help="engine threads")
    add_argument("--dtype", help="element type of raw files (default: the input's)")
    add_argument("--shape", type=_shape, help="shape of raw files (default: the input's)")
    add_argument("--signature", metavar="NAME", help="which signature (default: the first)")
    add_argument("--trust", metavar="DIR", type=Path, help=f"of a package: {TRUST_DIRECTORY}")
    add_argument("--key", metavar="FILE", type=Path, help="of a package: the device's private key")


def run(args: argparse.Namespace) -> Outcome:
    with _opened(args) as model:
        signature = _signature(model, args.signature)
        if args.output is not None:
            tensor_file.expect_writable(args.output, [spec.name for spec in signature.outputs])
        tensors = tensor_file.read(args.inputs, signature.inputs, args.dtype, args.shape)
        outputs = _outputs(model, signature, tensors)
        engine = inspection.engine_report(model)
    report = {
        "model": args.model,
        "engine": engine,
        "signature": signature.name,
        "outputs": {
            spec.name: inspection.values_report(spec, outputs[spec.name])
            for spec in signature.outputs
        },
    }
    if args.output is not None:
        tensor_file.write(args.output, outputs)
        return Outcome(report, f"wrote {args.output}")
    bar = "━" if "utf" in (sys.stdout.encoding or "").lower() else "="
    texts = [inspection.values_text(spec, outputs[spec.name], bar) for spec in signature.outputs]
    return Outcome(report, "\n\n".join(texts))


def _opened(args: argparse.Namespace) -> Model:
    """The model to run, from a package or from a bare file."""
    if is_package(args.model):
        return load(
            args.model, trust=args.trust, key=args.key, engine=args.engine, threads=args.threads
        )
    if args.trust is not None or args.key is not None:
        os.stat(args.model)  # one that is not there is no bare model
        raise BadInput(f"{args.model}: expected a package with --trust or --key, got a bare model")
    return load_unsigned(args.model, engine=args.engine, threads=args.threads)


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
