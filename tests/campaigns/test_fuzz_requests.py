"""A short run of the campaign of requests, and that the campaign sees what it looks for."""

from __future__ import annotations

from fuzz_requests import VALID, campaign, device, mutation

from edgeward.agent.edge_service import EdgeService

COUNT = 1500


def test_no_damaged_request_meets_a_defect():
    with device() as target:
        seen, findings = campaign(target, 3, COUNT)
    assert findings == []
    assert sum(seen.values()) == COUNT
    assert {name.partition(" ")[0] for name in seen} == set(VALID)
    statuses = {name.partition(" ")[2] for name in seen}
    assert {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS"} < statuses


def test_a_defect_is_a_finding(monkeypatch):
    def broken(self, request, caller):
        raise KeyError("defect")

    monkeypatch.setattr(EdgeService, "describe_model", broken)
    with device() as target:
        _, findings = campaign(target, 3, 200)
    assert findings
    assert all("DescribeModel: INTERNAL" in finding for finding in findings)


def test_a_request_is_made_again_from_its_number():
    first = [mutation(7, index, (1, 2)) for index in range(50)]
    assert first == [mutation(7, index, (1, 2)) for index in range(50)]
    assert len(set(first)) > 40
