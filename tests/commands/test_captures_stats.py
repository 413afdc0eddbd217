"""edgeward captures stats: what was counted, and whether it has drifted from a reference."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import drifted
import numpy as np
import pytest
import sealed
from models.tflite_writer import NONE, Op, Subgraph, Tensor, model

import edgeward as ew
from edgeward import Contents
from edgeward.captures.statistics_file import SUFFIX
from edgeward.packages.reference_statistics import ReferenceStatistics

SAMPLES = list(np.random.default_rng(8).normal(size=(400, 4)).astype(np.float32))
AGAINST = "--against demo.ewp --trust trust"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A package, captures `same` of its calibration set and `higher` of values that are 2 more."""
    directory = tmp_path_factory.mktemp("workplace")
    sealed.trust_at(directory / "trust")
    contents = Contents(calibration=[{"x": sample} for sample in SAMPLES])
    sealed.seal(directory / "demo.ewp", contents=contents)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEWARD_RINGS", str(directory / "rings"))
        patch.chdir(directory)
        capture("same", 0)
        capture("higher", 2)
    return directory


@pytest.fixture
def workplace(template, tmp_path, monkeypatch):
    """A copy of the template, to work in."""
    shutil.copytree(template, tmp_path / "copy")
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "copy" / "rings"))
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def capture(directory, step, package="demo.ewp", **options):
    with ew.Capture(directory, **options) as opened:
        model = ew.load(package, trust="trust", key=sealed.DEVICE, capture=opened)
        for sample in SAMPLES:
            model.predict(sample + step)


def test_what_has_drifted_is_said_and_is_status_1(run):
    status, out, err = run(f"captures stats higher {AGAINST}")
    assert (status, err) == (1, "")
    assert re.search(
        r'^DRIFTED:\n(.*\n)* +column 1 of input "x" has moved up by 1\.9 of', out, re.M
    )
    status, out, _ = run(f"captures stats higher {AGAINST} --json")
    assert status == 1
    (judged,) = json.loads(out)["drift"]["judged"]
    assert judged["has_drifted"] is True
    part = {"side": "input", "tensor": "x", "kind": "column", "name": "1"}
    finding = next(finding for finding in judged["findings"] if finding["part"] == part)
    assert finding["amount"] == pytest.approx(2 / np.std(SAMPLES, axis=0)[1], rel=1e-3)


def test_what_has_not_drifted_is_status_0(run, done):
    report = done(f"captures stats same {AGAINST}")
    assert report["drift"]["has_drifted"] is False
    assert report["statistics"][0]["run_count"] == len(SAMPLES)
    status, out, err = run(f"captures stats same {AGAINST}")
    assert (status, err) == (0, "")
    assert "\nas expected\n" in out


def test_a_package_below_the_floor_of_what_runs_here_still_judges(run, workplace):
    trust = ew.Trust(workplace / "trust")
    sealed.run(sealed.seal(workplace / "newer.ewp", 3, min_counter=3), trust)
    with pytest.raises(ew.RollbackRefused):
        ew.Package.open("demo.ewp", trust=trust)
    assert run(f"captures stats higher {AGAINST}")[0] == 1


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        ("none", 5, "none"),
        ("trust", 2, "expected segments or statistics"),
        (f"same trust {AGAINST}", 2, "expected segments or statistics"),
        ("same --png a.png", 2, "expected --against PACKAGE"),
        ("same --html a.html", 2, "expected --against PACKAGE"),
        ("same --against none.ewp --trust trust", 5, "none.ewp"),
        ("same --against demo.ewp --trust elsewhere", 5, "root.json"),
        ("same --against bare.ewp --trust trust", 2, "expected a reference in it, got none"),
        ("same --against forged.ewp --trust trust", 6, "forged.ewp"),
        ("same --against other.ewp --trust trust", 2, 'expected "other", as the package'),
        (f"same {AGAINST} --since 2100-01-01", 2, 'windows of model "demo" to judge, got none'),
        (f"same {AGAINST} --html none/a.html", 5, "none"),
    ],
)
def test_what_cannot_be_judged_is_no_verdict(run, workplace, line, status, says):
    sealed.seal(workplace / "bare.ewp")
    contents = Contents(calibration=[{"x": SAMPLES[0]}, {"x": SAMPLES[9]}])
    sealed.seal(workplace / "forged.ewp", contents=contents, keys=[sealed.key("stranger")])
    sealed.seal(workplace / "other.ewp", contents=contents, name="other")
    got, out, err = run(f"captures stats {line}")
    assert (got, out) == (status, "")
    assert says in err
    assert err.count("\n") == 1


def test_the_picture_and_the_page_show_what_has_drifted(run, workplace):
    image = pytest.importorskip("PIL.Image")
    status, out, _ = run(f"captures stats higher {AGAINST} --png a.png --html a.html")
    assert status == 1
    assert out.endswith("\nwrote a.png\nwrote a.html\n")
    page = (workplace / "a.html").read_text()
    assert page.count("<svg ") >= 1
    assert "has moved up by 2.0" in page
    with image.open(workplace / "a.png") as opened:
        assert opened.width > 2000


def test_statistics_that_are_encrypted_are_judged_with_the_key(run):
    archive = ew.PrivateKey.generate("x25519")
    archive.write("archive.key")
    capture("sealed", 2, encrypt_to=archive.public)
    assert run(f"captures stats sealed {AGAINST}")[0] == 6
    assert run(f"captures stats sealed {AGAINST} --key archive.key")[0] == 1


def first_version(reference):
    """The bytes of what version 1 would hold of the calibration set."""
    tensors = []
    for tensor in reference.report["tensors"]:
        values = np.array(SAMPLES) + np.arange(4) * (tensor["side"] == "output")
        values = values.ravel()
        edges = np.quantile(values, np.arange(1, 32) / 32)
        bins = np.searchsorted(edges, values, side="right")
        row = {field: tensor[field] for field in ("side", "name", "dtype")}
        tensors.append(row | {
            "finite_count": values.size, "nan_count": 0, "infinite_count": 0,
            "min": float(values.min()), "max": float(values.max()), "mean": float(values.mean()),
            "variance": float(values.var()), "edges": edges.tolist(),
            "counts": np.bincount(bins, minlength=32).tolist(),
            "class_counts": tensor["class_counts"].tolist(),
        })  # fmt: skip
    return json.dumps({"version": 1, "sample_count": len(SAMPLES), "tensors": tensors}).encode()


def test_a_package_of_version_1_counts_and_judges(run, workplace, monkeypatch):
    monkeypatch.setattr(ReferenceStatistics, "to_bytes", first_version)
    contents = Contents(calibration=[{"x": sample} for sample in SAMPLES])
    sealed.seal(workplace / "first.ewp", contents=contents)
    monkeypatch.undo()
    monkeypatch.setenv("EDGEWARD_RINGS", str(workplace / "rings"))
    monkeypatch.chdir(workplace)
    for directory, step, status in (("well", 0, 0), ("moved", 2, 1)):
        capture(directory, step, "first.ewp")
        got, out, _ = run(f"captures stats {directory} --against first.ewp --trust trust")
        assert got == status, out
        assert "note: the reference has no thresholds: PSI decides" in out
        assert out.count("\n  all values ") == 2
    assert '\n  input "x" has moved up by 2.0 of its deviation since ' in out
    assert run("captures stats higher --against first.ewp --trust trust")[0] == 1  # other bins


def test_a_tensor_that_is_an_input_and_an_output_is_judged_as_both(run, workplace):
    tensors = [Tensor("x", "float32", (1, 4)), Tensor("y", "float32", (1, 4))]
    add = Op("ADD", ["x", "x"], ["y"], {"activation": NONE})
    contents = Contents(calibration=[{"x": sample[None]} for sample in SAMPLES])
    tied = model([Subgraph(tensors, [add], ["x"], ["x", "y"])])
    sealed.seal(workplace / "tied.ewp", contents=contents, model=tied)
    with ew.Capture("tied") as opened:
        loaded = ew.load("tied.ewp", trust="trust", key=sealed.DEVICE, capture=opened)
        for sample in SAMPLES:
            loaded.predict(sample[None] + 2)
    status, out, _ = run("captures stats tied --against tied.ewp --trust trust --json")
    assert status == 1
    findings = json.loads(out)["drift"]["judged"][0]["findings"]
    parts = {(part["side"], part["tensor"]) for each in findings for part in each["parts"]}
    assert parts == {("input", "x"), ("output", "x"), ("output", "y")}


# --- docs/drift.md -------------------------------------------------------------------------------

MANUAL = Path(__file__).parents[2] / "docs" / "drift.md"
EXAMPLES = re.findall(r"^```console\n\$ edgeward (.*)\n((?:.*\n)*?)```$", MANUAL.read_text(), re.M)


@pytest.fixture(scope="module")
def pumps(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pumps")
    drifted.make(directory)
    return directory


def test_there_are_three_worked_tables():
    assert [line.split()[2] for line, _ in EXAMPLES] == ["pumps/north", "pumps/south", "pumps/west"]


@pytest.mark.parametrize(("line", "shown"), EXAMPLES, ids=[line for line, _ in EXAMPLES])
def test_a_worked_table_is_what_the_command_prints(typed, pumps, monkeypatch, line, shown):
    monkeypatch.chdir(pumps)
    monkeypatch.setenv("COLUMNS", "120")
    status, out, err = typed(line)
    assert out + (f"[exit status {status}]\n" if status else "") == shown
    assert err == ""


def test_a_fleet_is_judged_by_device_and_together(typed, pumps, monkeypatch):
    monkeypatch.chdir(pumps)
    status, out, _ = typed(f"captures stats pumps --against {drifted.PACKAGE} --trust trust --json")
    judged = json.loads(out)["drift"]["judged"]
    assert status == 1
    assert [(entry["device"], entry["has_drifted"]) for entry in judged] == [
        ("west", True), ("south", True), ("north", False), (None, True),
    ]  # fmt: skip
    folders = " ".join(f"pumps/{name}" for name in ("north", "south", "west"))
    apart = typed(f"captures stats {folders} --against {drifted.PACKAGE} --trust trust --json")[1]
    assert json.loads(apart)["drift"]["judged"] == judged


def test_windows_are_joined_and_left_out_as_asked(typed, pumps, monkeypatch):
    monkeypatch.chdir(pumps)
    line = f"captures stats pumps/south --against {drifted.PACKAGE} --trust trust --json"
    seen = {}
    for options in ("", "--window 6h", "--since 2026-11-26T12:00", "--window 1d"):
        status, out, _ = typed(f"{line} {options}")
        (entry,) = json.loads(out)["drift"]["judged"]
        seen[options] = status, [window["run_count"] for window in entry["windows"]]
    per_hour = drifted.PER_HOUR
    assert seen == {
        "": (1, [per_hour] * 24),
        "--window 6h": (0, [6 * per_hour] * 4),  # two of four are no three of four
        "--since 2026-11-26T12:00": (1, [per_hour] * 12),
        "--window 1d": (1, [24 * per_hour]),
    }


def test_a_damaged_file_is_named_and_changes_no_number(typed, pumps, monkeypatch, tmp_path):
    shutil.copytree(pumps, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    line = f"captures stats pumps/north --against {drifted.PACKAGE} --trust trust --json"
    before = json.loads(typed(line)[1])
    damaged = Path("pumps/north") / f"{99:020}-{99:016x}{SUFFIX}"
    content = bytearray(next(Path("pumps/north").glob("*" + SUFFIX)).read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    status, out, _ = typed(line)
    after = json.loads(out)
    assert status == 0
    assert [damaged.name in refusal for refusal in after.pop("refused")] == [True]
    assert before.pop("refused") == []
    assert after == before
