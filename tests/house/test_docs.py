"""What README.md and docs/library.md show is run, and their links lead somewhere."""

import json
import re
import shutil
import time
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import edgeward as ew
from edgeward.trust import keys
from tests.models import onnx_models, tflite_models

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S)


@pytest.fixture
def surroundings(tmp_path, monkeypatch):
    """The names that the examples take for granted."""
    digits = files("edgeward") / "digits"
    for suffix in ("tflite", "onnx"):
        shutil.copyfile(str(digits / f"digits.{suffix}"), tmp_path / f"model.{suffix}")
    monkeypatch.chdir(tmp_path)
    keys.make("edgeward-keys", "ed25519", int(time.time()), 1)
    monkeypatch.setenv("EDGEWARD_TRUST", "edgeward-keys/trust")
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "rings"))
    ew.Package.seal(
        "model.tflite",
        "person-2.1.ewp",
        ew.Release("person", "2.1", counter=1),
        [ew.PrivateKey.read("edgeward-keys/publisher.key")],
        ew.Contents(golden=[ew.Case({"image": np.zeros((1, 8, 8, 1), np.float32)})]),
        encrypt_to=[ew.PublicKey.read("edgeward-keys/device.pub")],
    )
    picture = np.load(str(digits / "digits.npz"))["pictures"][0]
    image = (picture.reshape(1, 8, 8, 1) / 16).astype(np.float32)

    def read_into(array):
        array[...] = image

    return {
        "ew": ew,
        "model": ew.load_unsigned("model.tflite"),
        "pair": ew.load_unsigned(tflite_models.sum_product()),
        "detector": ew.load_unsigned(onnx_models.detector()),
        "image": image,
        "picture": image,
        "first": np.ones(4, np.float32),
        "second": np.ones(4, np.float32),
        "camera": SimpleNamespace(read_into=read_into),
    }


@pytest.mark.parametrize(
    ("page", "least"),
    [
        ("README.md", 1),
        ("docs/library.md", 4),
        ("docs/capture.md", 1),
        ("docs/coming-from.md", 5),
    ],
)
def test_the_examples_run(page, least, surroundings):
    examples = blocks(page)
    assert len(examples) >= least
    for block in examples:
        if "# before\n" in block:  # what was written for another runtime
            continue
        exec(compile(block, page, "exec"), dict(surroundings))


def test_links_lead_somewhere():
    links = [
        (page, target)
        for page in PAGES
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
    ]
    assert links
    missing = [(page.name, target) for page, target in links if not (page.parent / target).exists()]
    assert not missing


def test_each_decision_is_in_the_index():
    folder = ROOT / "docs" / "decisions"
    pages = {path.name for path in folder.glob("[0-9]*.md")}
    assert len(pages) >= 11
    assert set(re.findall(r"\]\((\d[^)]*)\)", (folder / "README.md").read_text())) == pages


def test_what_contributing_names_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"(?<![\w/])(?:cpp|src|tests|docs|benchmarks)/[\w/.-]*\w", text)
    assert len(paths) >= 15
    assert [path for path in paths if not (ROOT / path).exists()] == []
    lanes = re.findall(r"^lane_(\w+)\(\)", (ROOT / ".ci" / "run").read_text(), re.M)
    table = text.split("| lane | does |")[1].split("\n\n")[0]
    assert lanes
    assert re.findall(r"^\| `(\w+)` \|", table, re.M) == lanes
    presets = json.loads((ROOT / "CMakePresets.json").read_text())["configurePresets"]
    assert all(f"`{preset['name']}`" in text for preset in presets)


def test_each_public_name_is_documented():
    text = (ROOT / "docs" / "library.md").read_text()
    described = {"EdgewardError", *(name for name in ew.__all__ if name in text)}
    assert described >= set(ew.__all__) - {"EngineReport", "Model", "Quantization"}


def test_the_reference_has_each_public_name():
    text = (ROOT / "docs" / "api.md").read_text()
    listed = set(re.findall(r"^::: edgeward\.(\w+)$", text, re.M))
    errors = {name for name in ew.__all__ if hasattr(ew.errors, name)}
    assert "errors" in listed
    assert listed - {"errors"} == set(ew.__all__) - errors


def test_each_page_is_on_the_site():
    text = (ROOT / "tools" / "mkdocs.yml").read_text()
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert len(pages) >= 15
    assert {page for page in pages if f" {page}\n" not in text} == set()


def members(name):
    """The public functions and properties of a class or module, and itself; no fields of tuples."""
    value = getattr(ew, name)
    yield name, value
    for key, member in vars(value).items() if isinstance(value, type | ModuleType) else ():
        is_ours = getattr(member, "__module__", "edgeward").startswith("edgeward")
        is_field = key in getattr(value, "_fields", ()) or not (
            callable(member) or isinstance(member, property | cached_property)
        )
        if not key.startswith("_") and is_ours and not is_field:
            yield f"{name}.{key}", member


def test_each_public_thing_has_a_docstring():
    documented = dict(member for name in ew.__all__ for member in members(name))
    assert len(documented) >= 150
    missing = []
    for name, member in documented.items():
        # pybind11 begins with a signature, on a line of its own.
        text = re.sub(r"^\w+\(.*\) -> .*\n*", "", getattr(member, "__doc__", None) or "")
        if not text.strip() or text.startswith(("Alias for field", f"{name}(")):
            missing.append(name)
    assert missing == []


def test_deploy_names_each_variable_of_the_environment():
    sources = [path.read_text() for path in (ROOT / "src" / "edgeward").rglob("*.py")]
    variables = {name for text in sources for name in re.findall(r"\bEDGEWARD_[A-Z_]+", text)}
    assert len(variables) >= 6
    text = (ROOT / "docs" / "deploy.md").read_text()
    assert {name for name in variables if name not in text} == set()


def test_each_error_has_a_remedy():
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    codes = {getattr(ew, name).code for name in ew.__all__ if _is_error(getattr(ew, name))}
    assert len(codes) >= 20
    assert {code for code in codes if f"`{code}`" not in text} == set()


def _is_error(value):
    return isinstance(value, type) and issubclass(value, ew.EdgewardError) and "code" in vars(value)


def test_each_defence_names_a_test_that_is_there():
    text = (ROOT / "docs" / "security.md").read_text()
    table = text.split("## Defences")[1].split("\n## ")[0]
    rows = [row for row in table.splitlines() if row.startswith("| ")][1:]
    assert len(rows) >= 25
    for row in rows:
        shown_by = re.findall(r"`([\w.]+\.(?:py|cc))(?:::([^`]+))?`", row.split(" | ")[-1])
        assert shown_by, row
        for file, name in shown_by:
            (path,) = (ROOT / "tests").rglob(file)
            heading = f"def {name}(" if file.endswith(".py") else f'TEST_CASE("{name}")'
            assert not name or heading in path.read_text(), (file, name)
