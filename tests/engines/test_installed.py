"""Engines found in their wheels, and the versions that are supported."""

import re
from pathlib import Path

import fakes
import pytest

from edgeward.engines import installed
from edgeward.errors import BadInput, EngineMismatch, EngineMissing

ROOT = Path(__file__).parents[2]


@pytest.fixture
def site(monkeypatch, tmp_path):
    return fakes.lone_site(monkeypatch, tmp_path / "site")


@pytest.mark.parametrize("name", installed.KINDS)
def test_an_engine_is_found_in_its_wheel_without_being_imported(site, name):
    library = fakes.install(site, name, "7.8.9")
    assert installed.installed(name) == (name, installed.KINDS[name].package, "7.8.9", str(library))


def test_a_distribution_of_another_name_is_found_by_its_module(site):
    fakes.install(site, "onnx", "1.32.0", package="onnxruntime-gpu")
    (site / "onnxruntime_extensions-0.14.0.dist-info").mkdir()
    (site / "onnxruntime_extensions-0.14.0.dist-info" / "RECORD").write_text("other/__init__.py,,")
    assert installed.installed("onnx")[:3] == ("onnx", "onnxruntime-gpu", "1.32.0")


@pytest.mark.parametrize("name", installed.KINDS)
def test_an_engine_that_is_not_installed_is_missing_and_the_message_says_what_to_type(site, name):
    with pytest.raises(EngineMissing, match=re.escape(installed.KINDS[name].install)):
        installed.installed(name)
    assert installed.KINDS[name].install.startswith("pip install ")


def test_a_directory_that_only_has_the_name_of_an_engine_is_not_one(site):
    (site / "onnxruntime").mkdir()
    with pytest.raises(EngineMissing, match="not installed"):
        installed.installed("onnx")


def test_a_wheel_without_the_library_is_a_mismatch(site):
    fakes.install(site, "litert", "1.0.1").unlink()
    expected = r"expected libLiteRt.so of ai-edge-litert >=2.2,<2.4, got none"
    with pytest.raises(EngineMismatch, match=expected):
        installed.installed("litert")


def test_a_library_that_no_distribution_lists_is_a_mismatch(site):
    fakes.install(site, "litert", "2.3.0")
    record = site / "ai_edge_litert-2.3.0.dist-info" / "RECORD"
    record.write_text("ai_edge_litert/__init__.py,,\nai_edge_litert/libLiteRt.so.debug,,\n")
    with pytest.raises(EngineMismatch, match="which no installed distribution lists"):
        installed.installed("litert")


def test_a_name_that_is_no_engine_is_bad_input():
    with pytest.raises(
        BadInput,
        match='engine: expected litert, litert-interpreter, onnx, tflite, auto, got "torch"',
    ):
        installed.installed("torch")


def test_all_installed_leaves_out_what_is_missing_or_broken(site):
    assert installed.all_installed() == ()
    fakes.install(site, "tflite", "2.14.0")
    fakes.install(site, "onnx", "1.32.0")
    fakes.install(site, "litert", "1.0.1").unlink()
    assert [engine.name for engine in installed.all_installed()] == ["onnx", "tflite"]


@pytest.mark.parametrize(
    ("name", "version", "is_supported"),
    [
        ("litert", "2.1.6", False),
        ("litert", "2.2", True),
        ("litert", "2.3.0", True),
        ("litert", "2.3.0rc1", True),
        ("litert", "2.4.0.dev20260801", False),
        ("litert", "2.10.0", False),
        ("onnx", "1.9.0", False),
        ("onnx", "1.22.1", False),
        ("onnx", "1.23.2+cu12", True),
        ("onnx", "1.100", True),
        ("onnx", "2.0.0", False),
        ("tflite", "2.13.0", False),
        ("tflite", "2.14.0", True),
        ("tflite", "2.15.0", False),
        ("tflite", "nightly", False),
    ],
)
def test_a_version_is_supported_inside_the_range(name, version, is_supported):
    assert installed.KINDS[name].supports(version) is is_supported


@pytest.mark.parametrize("name", installed.KINDS)
def test_the_core_refuses_versions_outside_the_same_range(name):
    # The one that knows Python lies in the room that does.
    file = "python/litert_interpreter" if name == "litert-interpreter" else f"engines/{name}"
    source = (ROOT / "cpp" / f"{file}.cc").read_text()
    bounds = re.search(r'require_version\("([\w-]+)", version, \{(.+?)\}, \{(.+?)\}\)', source)
    assert bounds, f"cpp/{file}.cc checks no version"
    package, lowest, below = bounds.groups()
    kind = installed.KINDS[name]
    assert package == kind.package
    assert [lowest, below] == [
        ", ".join([*version.split("."), "0"][:2]) for version in (kind.lowest, kind.below)
    ]


@pytest.mark.parametrize("name", installed.KINDS)
def test_pip_installs_versions_of_the_same_range(name):
    kind = installed.KINDS[name]
    requirements = re.findall(rf'"{kind.package}([^;"]+)', (ROOT / "pyproject.toml").read_text())
    assert requirements, f"pyproject.toml does not name {kind.package}"
    for requirement in requirements:
        is_exact = requirement.startswith("==") and kind.supports(requirement[2:])
        assert is_exact or requirement == kind.supported
