"""A service: runs a model on every file that arrives in a folder, and captures what it saw.

    python examples/watch_folder.py PACKAGE INBOX --captures DIR [--trust DIR]

A file is an array in .npy, or a picture or sound, which the package's recipe prepares. Whoever
delivers writes `name.jpg.part` beside it and renames it to `name.jpg`. Each file gives one line of
JSON on standard output, and is removed: with the answer, its scores by the package's labels, or
with the reason why there is none. SIGTERM and SIGINT end the service between two files.
"""

import argparse
import json
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np

import edgeward as ew

PAUSE_S = 0.05
PICTURES, SOUNDS, ARRAYS = (".jpg", ".png"), (".wav",), (".npy",)


def output_of(model: ew.Model, path: Path) -> Any:
    if path.suffix in PICTURES:
        return model.predict_picture(path)
    if path.suffix in SOUNDS:
        return model.predict_sound(path)
    return model.predict(np.load(path))


def shown(model: ew.Model, values: np.ndarray[Any, Any]) -> object:
    if model.labels and values.size == len(model.labels):
        return dict(zip(model.labels, values.ravel().tolist(), strict=True))
    return values.tolist()


def answer(model: ew.Model, path: Path) -> dict[str, object]:
    try:
        output = output_of(model, path)
    except (ew.EdgewardError, ValueError, OSError) as error:
        return {"file": path.name, "error": str(error)}
    outputs = output if isinstance(output, dict) else {model.outputs[0].name: output}
    return {"file": path.name, **{name: shown(model, values) for name, values in outputs.items()}}


def serve(model: ew.Model, inbox: Path, end: threading.Event) -> None:
    while not end.is_set():
        for path in sorted(inbox.iterdir()):
            if path.suffix not in (*PICTURES, *SOUNDS, *ARRAYS):
                continue
            print(json.dumps(answer(model, path)), flush=True)
            path.unlink()
            if end.is_set():
                return
        end.wait(PAUSE_S)


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a model on every file in a folder.")
    parser.add_argument("package", type=Path)
    parser.add_argument("inbox", type=Path)
    parser.add_argument("--captures", type=Path, required=True)
    parser.add_argument("--trust", type=Path)
    options = parser.parse_args()
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())
    with (
        ew.Capture(options.captures) as capture,
        ew.load(options.package, trust=options.trust, capture=capture) as model,
    ):
        serve(model, options.inbox, end)


if __name__ == "__main__":
    main()
