"""Writes the seed corpora of the fuzz targets: `python tests/fuzz/corpus.py DIRECTORY`.

One folder for each target, filled with the small models that the tests make, and with strings.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from models import custom_models, onnx_models, stateful_models, tflite_models, unwritten_models


def string_block(words: list[str]) -> bytes:
    """Count, offsets, bytes: cpp/tensor/string_block.h."""
    offsets = np.cumsum([4 * len(words) + 8, *map(len, words)])
    return np.array([len(words), *offsets], "<i4").tobytes() + "".join(words).encode()


def write_corpora(directory: Path) -> int:
    """Returns how many files it wrote."""
    tflite = tflite_models.ALL | tflite_models.ALIKE | stateful_models.ALL | custom_models.ALL
    tflite |= unwritten_models.of("litert-interpreter") | {"frames": tflite_models.frames}
    onnx = onnx_models.ALL | onnx_models.SIZES | {"frames": onnx_models.frames}
    corpora = {
        "tflite_file": [make() for make in tflite.values()],
        "onnx_file": [make() for make in onnx.values()],
    }
    corpora["tflite_outline"] = corpora["tflite_file"]
    corpora["ort_file"] = [onnx_models.to_ort(model) for model in corpora["onnx_file"]]
    strings = ([], [""], ["ab", "", "c"], ["x" * 100, "\0"])
    corpora["string_block"] = [string_block(words) for words in strings]
    for make in onnx_models.OPTIMIZED_LATER.values():
        corpora["ort_file"].append(onnx_models.to_ort_optimized_later(make()))
    for target, models in corpora.items():
        folder = directory / target
        folder.mkdir(parents=True, exist_ok=True)
        for number, model in enumerate(models):
            (folder / f"{number:03}").write_bytes(model)
    return sum(len(models) for models in corpora.values())


if __name__ == "__main__":
    print(write_corpora(Path(sys.argv[1])), "files")
