"""What the tests of captures share: a directory each, and rings of their own."""

import pytest


@pytest.fixture(autouse=True)
def _rings_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "rings"))


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "captures"


@pytest.fixture
def runs_beside(tmp_path, monkeypatch):
    """The test runs beside its directory of captures."""
    monkeypatch.chdir(tmp_path)
