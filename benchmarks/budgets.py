"""What must hold: the ratio of two ways of running a model of some kind, and its limit. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from cases import Kind

from edgeward.commands.bench import BARE, PREDICT, PREDICT_EMPTY, RUN
from edgeward.measuring.peers import COMPILED_MODEL, INTERPRETER, ONNX_RUN, PEERS
from edgeward.measuring.timing import Ratio, ratio


class Budget(NamedTuple):
    ours: str
    theirs: str
    limit: float


class Verdict(NamedTuple):
    ratio: Ratio
    limit: float

    @property
    def holds(self) -> bool:
        return self.ratio.median <= self.limit

    @property
    def text(self) -> str:
        median, least, greatest = self.ratio[2:]
        answer = "holds" if self.holds else "does not hold"
        return f"{median:.3f}, {least:.2f} to {greatest:.2f}, limit {self.limit:.2f} {answer}"


def budgets(kind: Kind, engine: str) -> list[Budget]:
    """In the names that race.py gives the ways."""
    run, bare = f"{engine}: {RUN}", f"{engine}: {BARE}"
    predict, predict_empty = f"{engine}: {PREDICT}", f"{engine}: {PREDICT_EMPTY}"
    match kind, engine:
        case Kind.ONE_OP, "litert":
            return [
                Budget(run, bare, 1.10),
                Budget(predict, INTERPRETER, 0.95),
                Budget(predict, COMPILED_MODEL, 0.35),
            ]
        case Kind.ONE_OP, "onnx":
            return [Budget(run, bare, 1.10), Budget(predict, ONNX_RUN, 0.35)]
        case Kind.BIG, "litert":
            return [Budget(predict_empty, INTERPRETER, 0.75), Budget(run, INTERPRETER, 0.45)]
        case Kind.STATEFUL, "litert":
            return [Budget(predict, run, 1.30)]
        case Kind.REAL, _:
            return [Budget(predict, peer, 1.02) for peer in PEERS[engine]]
    return []


def verdicts(
    kind: Kind, engine: str, rounds_us: Mapping[str, Sequence[float]], failed: Collection[str]
) -> list[Verdict]:
    """Of all budgets but those against peers that failed."""
    return [
        Verdict(ratio(rounds_us, budget.ours, budget.theirs), budget.limit)
        for budget in budgets(kind, engine)
        if budget.theirs not in failed
    ]
