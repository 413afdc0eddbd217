"""Expectation: what windows of counts are judged by, as a package's reference says it."""

from collections.abc import Mapping
from typing import Any

from edgeward.captures.drift import Reference, least_floats
from edgeward.captures.findings import Names
from edgeward.packages.package import Package
from edgeward.packages.reference_statistics import ReferenceStatistics


def expectation(package: Package) -> Reference | None:
    """Of the package's reference, with its names; None when it carries none.

    Raises MalformedPackage.
    """
    reference = package.reference
    if reference is None:
        return None
    return expected(reference)._replace(names=Names(package.columns or {}, package.labels or ()))


def expected(reference: ReferenceStatistics) -> Reference:
    """What was counted of the calibration set, and its thresholds, without names."""
    tensors = [_of_version_1(tensor._asdict()) for tensor in reference.tensors]
    return Reference({"run_count": reference.sample_count, "tensors": tensors})


def _of_version_1(tensor: Mapping[str, Any]) -> dict[str, Any]:
    """All its values are one part. What it does not tell is no surprise in any window."""
    total = tensor["finite_count"]
    unknown = {"clipped_count": total, "unchanged_count": total, "pair_count": 0, "step_squares": 0}
    part = {
        **tensor,
        **unknown,
        "kind": "values",
        "name": "",
        "edges": least_floats(tensor["edges"]),
        "is_adaptive": False,
    }
    return {**tensor, "parts": [part]}
