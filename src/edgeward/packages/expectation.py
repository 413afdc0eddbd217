"""Expectation: what windows of counts are judged by, as a package's reference says it."""

from edgeward.captures.drift import Reference
from edgeward.packages.package import Package
from edgeward.packages.reference_statistics import ReferenceStatistics


def expectation(package: Package) -> Reference | None:
    """Of the package's reference; None when it carries none.

    Raises MalformedPackage.
    """
    reference = package.reference
    return None if reference is None else expected(reference)


def expected(reference: ReferenceStatistics) -> Reference:
    """What was counted of the calibration set, its thresholds, and the names of its package."""
    return Reference(reference.report, reference.thresholds, reference.names)
