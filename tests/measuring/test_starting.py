"""Starts of programs: bare models and packages, and one that does not load."""

from __future__ import annotations

import pytest
import sealed
from models import tflite_models

from edgeward.measuring import starting
from edgeward.measuring.child_part import PartError


def test_a_bare_model_and_a_package_start(tmp_path):
    bare = tmp_path / "model.tflite"
    bare.write_bytes(tflite_models.dynamic_batch())
    package = sealed.seal(tmp_path / "demo.ewp")
    trust = sealed.trust_at(tmp_path / "trust").directory
    for path, is_package, option in ((bare, False, None), (package, True, trust)):
        report = starting.report(str(path), is_package, option, None, 1, lambda: 60.0)
        assert 0 < report.import_ms < report.answer_ms < report.process_ms
        assert report.peak_bytes > 1 << 20


def test_a_model_that_does_not_load_has_a_reason(tmp_path):
    path = tmp_path / "noise.tflite"
    path.write_bytes(bytes(64))
    with pytest.raises(PartError, match="MalformedModel"):
        starting.report(str(path), False, None, None, 1, lambda: 60.0)
