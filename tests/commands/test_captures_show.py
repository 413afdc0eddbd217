"""edgeward captures show: pictures, curves, spectrograms, labels, and sheets of all of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import sealed
import segments

import edgeward as ew
from edgeward import Contents

WHITE = np.ones((1, 64, 64, 1), np.float32)


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "rings"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "captures"


def write(directory, arrays, **described):
    """A segment with one record of one input for each array."""
    segments.write(
        directory,
        [segments.record(n, [segments.tensor(0, 0, array)]) for n, array in enumerate(arrays, 1)],
        described=segments.description(**described),
    )


def drawing(run, line="captures show captures"):
    """What is drawn below the one input's own line."""
    status, out, err = run(line)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    (at,) = (index for index, text in enumerate(lines) if text.startswith("input"))
    return lines[at + 1 :]


def ink(lines):
    """Where something is drawn: a column for each line."""
    return [[at for at, letter in enumerate(line) if letter not in " ."] for line in lines]


def test_a_picture_is_as_wide_as_the_terminal(directory, typed):
    picture = WHITE.copy()
    picture[0, 0, 0, 0] = 0
    write(directory, [picture])
    assert max(map(len, drawing(typed))) == 100


def test_a_picture_is_as_wide_as_a_narrow_terminal(directory, typed, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    picture = WHITE.copy()
    picture[0, 0, 0, 0] = 0
    write(directory, [picture])
    assert max(map(len, drawing(typed))) == 20


@pytest.mark.parametrize("shape", [(512,), (1, 512), (1, 512, 1)])
def test_a_signal_is_drawn_as_a_curve(shape, directory, typed):
    write(directory, [np.linspace(-1, 1, 512, dtype=np.float32).reshape(shape)])
    lines = drawing(typed)
    assert len(lines) >= 4, f"expected a curve of several lines, got {lines}"
    columns = [marks for marks in ink(lines) if marks]
    assert max(columns[0]) > max(columns[-1]), "what rises ends at the upper right"


def test_time_and_features_are_drawn_as_a_spectrogram(directory, typed):
    """Time goes to the right, features go up: a low tone that begins late is at the lower right."""
    tone = np.zeros((98, 40), np.float32)
    tone[49:, :10] = 1
    write(directory, [tone])
    lines = drawing(typed)
    assert max(map(len, lines)) > 2 * len(lines), "time is the longer side"
    upper, lower = ink(lines[: len(lines) // 2]), ink(lines[len(lines) // 2 :])
    assert not any(upper)
    assert min(column for line in lower for column in line) >= max(map(len, lines)) * 4 // 10


def test_scores_have_the_labels_of_the_package(directory, typed, typed_well):
    trust = sealed.trust_at(directory.with_name("trust"))
    contents = Contents(labels=["cat", "dog", "fox", "owl"])
    path = sealed.seal(directory.with_name("demo.ewp"), contents=contents)
    with ew.Capture(directory) as capture:
        model = ew.load(path, trust=trust, key=sealed.DEVICE, capture=capture)
        model.predict(np.zeros(4, np.float32))
    _, out, _ = typed("captures show captures")
    assert re.search(r"^output +y .*\bowl\b", out, re.M | re.S), out
    assert typed_well("captures show captures")["records"][0]["labels"] == contents.labels


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.array([[[3, 250]] * 32] * 16, np.uint8).reshape(32, 32), "black 3, white 250"),
        (np.linspace(-0.5, 2, 64, dtype=np.float32), "-0.5 to 2"),
        (np.linspace(0, 8, 500, dtype=np.float32).reshape(50, 10), "black 0, white 8"),
    ],
)
def test_what_is_drawn_says_from_which_value_to_which(directory, typed, array, says):
    write(directory, [array])
    _, out, _ = typed("captures show captures --html sheet.html")
    (line,) = (line for line in out.splitlines() if line.startswith("input "))
    assert line.endswith(f"]  {says}")
    ends = says.replace("black ", "").replace(", white", " to")
    assert f", {ends}</figcaption>" in Path("sheet.html").read_text(encoding="utf-8")


def test_a_contact_sheet_as_a_picture(directory, typed, typed_well):
    image = pytest.importorskip("PIL.Image")
    write(directory, [np.full((1, 16, 16, 1), value, np.uint8) for value in range(6)])
    lines = typed("captures show captures --last 6 --png sheet.png")[1].splitlines()
    assert sum(line.startswith("input ") for line in lines) == 6
    assert len(lines) == 6 * 3 + 1  # of each its title, its tensor and an empty one; none drawn
    report = typed_well("captures show captures --last 6 --png sheet.png")
    assert report["png"] == "sheet.png"
    with image.open("sheet.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.height > sheet.width / 4  # two rows of tiles


def test_a_contact_sheet_as_a_page(directory, typed_well):
    """One file that loads nothing, in which a name is text."""
    pytest.importorskip("PIL.Image")
    pictures = [np.full((1, 16, 16, 1), value, np.uint8) for value in range(3)]
    write(directory, pictures, inputs=["<b>x"], model="<script>alert(1)</script>")
    report = typed_well("captures show captures --last 3 --html sheet.html")
    assert report["html"] == "sheet.html"
    page = Path("sheet.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/png;base64,') == 3
    assert not re.search(r"https?://|<script|<b>", page)
    assert "&lt;script&gt;" in page


def test_a_sheet_without_pictures_is_an_error(directory, typed):
    segments.write(directory, [segments.plain(1)])
    status, out, err = typed("captures show captures --png sheet.png")
    assert (status, out) == (2, "")
    assert "picture" in err
    assert not Path("sheet.png").exists()


def test_scores_are_shown_in_real_values(directory, typed, typed_well):
    facts = json.loads(segments.description(labels=["cat", "dog"]))
    quantization = {"scales": [0.25], "zero_points": [-128], "axis": 0}
    facts["outputs"][0] |= {"dtype": "int8", "shape": [1, 2], "quantization": quantization}
    tensors = [segments.tensor(1, 0, np.array([[-127, -125]], np.int8))]
    segments.write(directory, [segments.record(1, tensors)], described=json.dumps(facts).encode())
    assert typed("captures show captures")[1].endswith("int8 [1, 2]  dog 0.75  cat 0.25\n")
    (record,) = typed_well("captures show captures")["records"]
    assert record["outputs"]["y"]["values"] == [[-127, -125]]
    assert record["outputs"]["y"]["quantization"] == quantization


@pytest.mark.parametrize("labels", [["cat"], ["cat", "dog", "fox"], ["cat", "dog"]])
def test_labels_of_another_number_name_nothing(labels, directory, typed):
    y = segments.tensor(1, 0, np.ones((2, 2), np.float32))
    described = segments.description(labels=labels)
    segments.write(directory, [segments.record(1, [y])], described=described)
    assert typed("captures show captures")[1].endswith("float32 [2, 2]  1  1  1  1\n")


def test_a_caption_that_is_too_long_is_cut(directory, typed_well):
    image = pytest.importorskip("PIL.Image")
    write(directory, [np.eye(16, dtype=np.uint8)], inputs=["x" * 500])
    typed_well("captures show captures --png sheet.png")
    with image.open("sheet.png") as sheet:
        margin = np.asarray(sheet.convert("L"))[:, -40:]
        assert margin.min() == 255
        tile = np.asarray(sheet.convert("L"))[:, 40 + 192 + 28 :]
        assert tile[120:].min() == 255, "a caption runs into the next tile"


def test_a_caption_has_room_for_a_label(directory, typed_well):
    image = pytest.importorskip("PIL.Image")
    lowest = []
    for name in ("x", "image: a person on a bicycle"):
        folder = directory / str(len(name))
        write(folder, [np.eye(16, dtype=np.uint8)], inputs=[name])
        typed_well(f"captures show {folder} --png sheet.png")
        with image.open("sheet.png") as sheet:
            ink = np.asarray(sheet.convert("L"))[300:].min(axis=1) < 128
            lowest.append(int(np.flatnonzero(ink).max()))
    assert lowest[1] >= lowest[0] + 12, "the label has no second line"
