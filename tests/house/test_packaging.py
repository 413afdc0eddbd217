"""Edgeward as it is handed on: an sdist, and the wheel that is built from it, run on their own."""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_WHEEL_BYTES = 2_200_000


def run(*words, **options):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, and a wheel made from nothing but it."""
    directory = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", directory, ROOT)
    (sdist,), (wheel,) = directory.glob("*.tar.gz"), directory.glob("*.whl")
    return sdist, wheel


def test_the_sdist_holds_what_a_build_and_its_tests_need(built):
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"pyproject.toml", "CMakeLists.txt", "LICENSE", "README.md", "cpp/models/session.cc"}
    assert wanted | {"tests/models/train_digits.py", "src/edgeward/digits/digits.npz"} <= names
    assert not [name for name in names if name.endswith((".so", ".o"))]


def test_the_wheel_is_small_and_holds_the_product_alone(built):
    assert built[1].stat().st_size <= MOST_WHEEL_BYTES
    with zipfile.ZipFile(built[1]) as archive:
        names = archive.namelist()
    assert [name for name in names if name.startswith("edgeward/_core.") and name.endswith(".so")]
    assert {"edgeward/py.typed", "edgeward/_core.pyi", "edgeward/digits/digits.tflite"} <= set(
        names
    )
    assert {name.split("/")[0].split("-")[0] for name in names} == {"edgeward"}


def test_the_demo_runs_from_the_wheel(built, tmp_path):
    site = tmp_path / "site"
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, built[1])
    environment = {**os.environ, "PYTHONPATH": str(site)}
    where = "import edgeward; print(edgeward.__file__)"
    if not run(sys.executable, "-c", where, env=environment, cwd=tmp_path).startswith(str(site)):
        hooks = list(Path(sysconfig.get_path("purelib")).glob("_editable_*edgeward*"))
        assert hooks, "expected the wheel's edgeward, or an editable install that hides it"
        pytest.skip("an editable install of edgeward hides the wheel's")
    shown = run(sys.executable, "-m", "edgeward", "demo", "--json", env=environment, cwd=tmp_path)
    assert json.loads(shown)["accuracy"] >= 0.96
