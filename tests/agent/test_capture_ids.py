"""What became of captures is remembered across starts, whatever the clock says."""

from __future__ import annotations

import time

import pytest

from edgeward.agent.capture_ids import SUCCESS, CaptureIds
from edgeward.agent.capture_layout import Manifest
from edgeward.agent.capture_request import Captured

YEARS_S = 10 * 365 * 86_400


@pytest.mark.parametrize(
    "jump_s", [-YEARS_S, 0, YEARS_S, 60 - int(time.time())], ids=["back", "right", "ahead", "1970"]
)
def test_an_id_is_remembered_by_an_agent_whose_clock_is_wrong(tmp_path, monkeypatch, jump_s):
    path = tmp_path / "manifest.jsonl"
    ids = CaptureIds(str(tmp_path))
    captures = [Captured("a", "demo", "1.0", 0, ())]
    ids.announce(str(path), Manifest("", "manifest", captures))
    path.write_text("{}")
    ids.confirm(str(path))
    ids.close()
    clock_s = time.time()
    for wrong_s in (jump_s, 0):  # once with that clock, and once more with the right one
        monkeypatch.setattr(time, "time", lambda wrong_s=wrong_s: clock_s + wrong_s)
        ids = CaptureIds(str(tmp_path))
        assert ids.state("a") == SUCCESS
        ids.close()
