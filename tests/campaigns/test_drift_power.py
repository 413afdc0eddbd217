"""Short runs of the campaign of drift: changes are shown, faults named, calm fleets left alone."""

import drift_power
import pytest
from drift_power import CASES, FAULTS, MOST_ALARMS, fleet, named, power


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name} {case.window_size}")
def test_the_smallest_change_shown_is_below_its_limit_and_psi_is_far_above(case):
    shown = power(case, 500, seed=1)
    assert shown.holds
    assert shown.by_psi > 2 * shown.amount
    assert shown.false_alarms < 3 * drift_power.FALSE_ALARMS


@pytest.mark.parametrize("is_shuffled", [False, True], ids=["in order", "shuffled"])
def test_a_calm_fleet_whose_inferences_are_alike_does_not_alarm(is_shuffled):
    calm = fleet(4, 4, 360, is_shuffled, seed=2)
    assert calm.window_count == 4 * 4 * 24
    assert len(calm.alarms) <= MOST_ALARMS
    assert calm.passed_count < 0.02 * calm.window_count


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_named(fault):
    count, others = named(fault, 1, seed=3)
    assert (count, others) == (1, [])
