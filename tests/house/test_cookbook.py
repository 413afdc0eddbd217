"""The programs of docs/cookbook.md, each from an empty directory, with stand-ins for devices."""

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
import wave
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from shutil import copyfile

import numpy as np
import pytest
import sealed
from models import onnx_models, stateful_models
from PIL import Image

from edgeward import Contents

PAGE = (Path(__file__).parents[2] / "docs" / "cookbook.md").read_text("utf-8")
PROGRAMS = dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```$", PAGE, re.M | re.S))

DIGITS = files("edgeward") / "digits"
with np.load(str(DIGITS / "digits.npz")) as arrays:
    PICTURES = [(picture * (255 / 16)).astype(np.uint8) for picture in arrays["pictures"][:3]]
    LABELS = [int(label) for label in arrays["labels"][:3]]

# Gives three pictures, twice as large and in colours.
CV2 = """
import numpy as np

COLOR_BGR2GRAY = 6

class VideoCapture:
    def __init__(self, number):
        self.pictures = list(np.load("pictures.npy"))

    def read(self):
        if not self.pictures:
            return False, None
        picture = self.pictures.pop(0).repeat(2, 0).repeat(2, 1)
        return True, np.stack([picture] * 3, 2)

def cvtColor(picture, code):
    return picture[..., 0]

def resize(picture, size):
    width, height = size
    return picture[:: len(picture) // height, :: picture.shape[1] // width]
"""


@pytest.fixture
def start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a program of the page where the digits' models are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "rings"))
    for suffix in ("tflite", "onnx"):
        copyfile(str(DIGITS / f"digits.{suffix}"), f"digits.{suffix}")
    processes = []

    def start_program(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        Path(name).write_text(PROGRAMS[name])
        command = [sys.executable, name, *arguments]
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe))
        return processes[-1]

    yield start_program
    for process in processes:
        process.kill()
        process.communicate()


def lines_of(process: subprocess.Popen[bytes], content: bytes = b"") -> list[str]:
    output, errors = process.communicate(content)
    assert process.returncode == 0, errors.decode()
    return output.decode().splitlines()


def test_every_program_is_run() -> None:
    assert set(PROGRAMS) == {
        "camera.py", "opencv.py", "microphone.py", "listen.py", "several.py", "serve.py",
        "black_box.py",
    }  # fmt: skip
    assert all(f"test_{name.removesuffix('.py')}" in globals() for name in PROGRAMS)


def test_camera(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    cut = PICTURES[0].tobytes()[:5]
    frames = b"".join(picture.tobytes() for picture in PICTURES) + cut
    lines = lines_of(start("camera.py", "digits.tflite"), frames)
    assert [int(line.split()[0]) for line in lines] == LABELS


def test_opencv(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    Path("cv2.py").write_text(CV2)
    np.save("pictures.npy", np.array(PICTURES))
    lines = lines_of(start("opencv.py", "digits.tflite"))
    assert [int(line.split()[0]) for line in lines] == LABELS


def test_microphone(start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> None:
    Path("wake_word.tflite").write_bytes(stateful_models.ALL["lstm"]())
    with wave.open("sound.wav", "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(np.full(16000, 20000, "<i2").tobytes())
    samples = (tmp_path / "sound.wav").read_bytes()[44:]
    lines = lines_of(start("microphone.py", "wake_word.tflite"), samples)
    # Every frame is alike, so only the state makes answers differ.
    assert len(lines) > 10
    assert lines[0] != lines[1]


def test_listen(start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (recipe,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.M | re.S)
    contents = Contents(labels=["hum", "whistle", "hiss"], recipe=json.loads(recipe))
    sealed.seal(tmp_path / "noises-1.ewp", model=onnx_models.noises(), contents=contents)
    sealed.trust_at(tmp_path / "trust")
    whistle = np.sin(2 * np.pi * 2000 * np.arange(24_000) / 16_000) * 9000
    hiss = np.random.default_rng(3).integers(-9000, 9000, 24_000)
    samples = np.append(whistle + hiss / 300, hiss).astype("<i2")
    lines = lines_of(start("listen.py", "noises-1.ewp", "trust"), samples.tobytes())
    assert [line.split()[0] for line in lines][1:] == ["whistle"] * 3 + ["hiss"] * 2


def test_several(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    pytest.importorskip("onnxruntime")
    first, second = lines_of(start("several.py", "digits.tflite", "digits.onnx"))
    assert first.split()[:2] == ["digits.tflite", second.split()[1]]


def test_serve(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    server = start("serve.py", "digits.tflite", "0")
    assert server.stdout is not None
    address = server.stdout.readline().decode().strip()
    for picture, label in zip(PICTURES, LABELS, strict=True):
        Image.fromarray(picture).save("picture.png")
        request = urllib.request.Request(address, Path("picture.png").read_bytes())
        with urllib.request.urlopen(request) as answer:
            assert f'"class": {label},' in answer.read().decode()
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(urllib.request.Request(address, b"no picture"))


def test_black_box(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    (line,) = lines_of(start("black_box.py", "digits.tflite"))
    assert line == "30 inferences, from 60.0 to 89.0"
