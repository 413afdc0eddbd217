"""A service: runs a model on every array that arrives in a folder, and captures what it saw.

    python examples/watch_folder.py PACKAGE INBOX --captures DIR [--trust DIR]

Whoever delivers writes `name.npy.part` beside it and renames it to `name.npy`. Each file gives
one line of JSON on standard output, and is removed: with the answer, or with the reason why there
is none. SIGTERM and SIGINT end the service between two files.
"""

import argparse
import json
import signal
import threading
from pathlib import Path

import numpy as np

import edgeward as ew

PAUSE_S = 0.05


def answer(model: ew.Model, path: Path) -> dict[str, object]:
    try:
        output = model.predict(np.load(path))
    except (ew.BadInput, ValueError, OSError) as error:
        return {"file": path.name, "error": str(error)}
    outputs = output if isinstance(output, dict) else {model.outputs[0].name: output}
    return {"file": path.name, **{name: values.tolist() for name, values in outputs.items()}}


def serve(model: ew.Model, inbox: Path, end: threading.Event) -> None:
    while not end.is_set():
        for path in sorted(inbox.glob("*.npy")):
            print(json.dumps(answer(model, path)), flush=True)
            path.unlink()
            if end.is_set():
                return
        end.wait(PAUSE_S)


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a model on every array in a folder.")
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
