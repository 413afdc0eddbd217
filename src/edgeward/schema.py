"""Schema: a model's inputs and outputs, as a document for JSON."""

from typing import Any

from edgeward import _core


def signatures_report(model: _core.Model) -> dict[str, Any]:
    """Each signature's inputs and outputs, by its name."""
    return {
        name: {
            "inputs": [spec_report(spec) for spec in signature.inputs],
            "outputs": [spec_report(spec) for spec in signature.outputs],
        }
        for name, signature in model.signatures.items()
    }


def spec_report(spec: _core.TensorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "dtype": spec.dtype,
        "shape": None if spec.shape is None else list(spec.shape),
        "quantization": quantization_report(spec.quantization),
    }


def quantization_report(quantization: _core.Quantization | None) -> dict[str, Any] | None:
    if quantization is None:
        return None
    return {
        "scales": [float(scale) for scale in quantization.scales],
        "zero_points": [int(zero_point) for zero_point in quantization.zero_points],
        "axis": quantization.axis,
    }
