"""Expectation: what windows of counts are judged by, as a package's reference says it."""

from edgeward.captures.drift import Reference
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
    return Reference(reference.report, reference.thresholds)
