"""What capturing adds: each kind has a number, and one that cannot run has a reason."""

from __future__ import annotations

import pytest

import edgeward as ew
from edgeward.measuring import capturing


@pytest.fixture
def session_with(load):
    def opened(capture):
        return load("add").session() if capture is None else _captured(load, capture)

    return opened


def _captured(load, capture):
    model = load("add")
    capture.attach(model)
    return model.session()


def test_each_kind_is_measured(session_with, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path))
    report = capturing.report(session_with, 0.01, 60)
    assert [added.name for added in report.additions] == list(capturing.KINDS)
    assert report.failures == {}
    assert report.without_us > 0


def test_a_kind_that_fails_is_named_and_the_others_go_on(load):
    sessions = []

    def opened(capture):
        sessions.append(capture)
        if len(sessions) == 2:
            raise ew.BadInput("ring: no room")
        model = load("add")
        if capture is not None:
            capture.attach(model)
        return model.session()

    report = capturing.report(opened, 0.01, 60)
    first, *others = capturing.KINDS
    assert report.failures == {first: "ring: no room"}
    assert [added.name for added in report.additions] == others
