"""Rules: which inferences a Capture keeps. The core evaluates them within the call that ran.

    rules.per_second(2) | rules.margin("scores", 0.1)       either
    rules.fraction(0.05) & rules.above("scores", 0.5)       both

A rule about an output compares real values: those of a quantised tensor are scaled first. The value
of an output is its largest element. A run that failed has no outputs: only failed() and rates hold.
"""

from collections.abc import Iterable

from edgeward import _core
from edgeward.captures.limits import require_number
from edgeward.errors import BadInput

HOUR_S = 3600.0
SECOND_NS = 1_000_000_000
WINDOW_LIMIT_S = 1_000_000_000
MAX_COUNT = (1 << 63) - 1


class Rule:
    """A rule, or several combined. The functions below make them; immutable."""

    __slots__ = (
        "_classes", "_count", "_kind", "_limit", "_output", "_parts", "_upper", "_window_ns",
    )  # fmt: skip

    def __init__(
        self,
        kind: str,
        limit: float = 0.0,
        upper: float = 0.0,
        count: int = 0,
        window_s: float = 0.0,
        output: str = "",
        classes: tuple[int, ...] = (),
        parts: "tuple[Rule, ...]" = (),
    ) -> None:
        max_count = _core.MAX_RESERVOIR_COUNT if kind == "reservoir" else MAX_COUNT
        # The core refuses a count of 0, and what the model's signature does not allow. This refuses
        # what the core's types cannot hold.
        if not 0 <= count <= MAX_COUNT:
            raise BadInput(f"count: expected 1 to {max_count}, got {count}")
        if window_s != 0:
            require_number("window_s", window_s, 1e-9, WINDOW_LIMIT_S)
        self._kind = kind
        self._limit, self._upper = float(limit), float(upper)
        self._count = count
        self._window_ns = int(window_s * SECOND_NS)
        self._output = output
        self._classes = classes
        self._parts = parts

    @property
    def has_reservoir(self) -> bool:
        """Whether later records may replace earlier ones."""
        return self._kind == "reservoir" or any(part.has_reservoir for part in self._parts)

    def core(self) -> _core.Rule:
        """The same rule, as the core takes it."""
        rule = _core.Rule()
        rule.kind = self._kind
        rule.limit, rule.upper = self._limit, self._upper
        rule.count, rule.window_ns = self._count, self._window_ns
        rule.output, rule.classes = self._output, self._classes
        rule.parts = [part.core() for part in self._parts]
        return rule

    def __or__(self, other: "Rule") -> "Rule":
        return Rule("any", parts=(self, other))

    def __and__(self, other: "Rule") -> "Rule":
        return Rule("all", parts=(self, other))


def fraction(share: float) -> Rule:
    """This share of all, 0 to 1, at random."""
    if not 0 <= share <= 1:
        raise BadInput(f"sample: expected a fraction from 0 to 1, got {share}")
    return Rule("fraction", share)


def every(count: int) -> Rule:
    """The first, and from then on each `count`-th."""
    return Rule("every", count=count)


def per_second(most: float) -> Rule:
    """At most `most` in a second."""
    return Rule("per_second", most)


def reservoir(count: int, window_s: float = HOUR_S) -> Rule:
    """A uniform random sample of `count` from each window, which read_captures gives.

    Later records replace earlier ones in the sample; the earlier ones are on the disk too.
    """
    return Rule("reservoir", count=count, window_s=window_s)


def quota(output: str, count: int, window_s: float = HOUR_S) -> Rule:
    """At most `count` of each class in a window; the class is the index of the largest element."""
    return Rule("quota", count=count, window_s=window_s, output=output)


def below(output: str, limit: float) -> Rule:
    """The output's largest element is below `limit`."""
    return Rule("below", limit, output=output)


def above(output: str, limit: float) -> Rule:
    """The output's largest element is above `limit`."""
    return Rule("above", limit, output=output)


def between(output: str, least: float, most: float) -> Rule:
    """The output's largest element is from `least` to `most`."""
    return Rule("between", least, most, output=output)


def argmax_in(output: str, classes: Iterable[int]) -> Rule:
    """The index of the output's largest element is one of `classes`."""
    indexes = tuple(classes)
    for index in indexes:
        require_number("classes", index, -1 << 63, 1 << 63)
    return Rule("argmax_in", output=output, classes=indexes)


def margin(output: str, limit: float) -> Rule:
    """The output's two largest elements differ by less than `limit`."""
    return Rule("margin", limit, output=output)


def entropy(output: str, limit: float) -> Rule:
    """The output, scaled to a sum of 1, has an entropy of more than `limit` nats."""
    return Rule("entropy", limit, output=output)


def not_a_number(output: str) -> Rule:
    """The output holds a NaN."""
    return Rule("nan", output=output)


def failed() -> Rule:
    """The engine failed."""
    return Rule("failed")
