"""Captures in which something has drifted, or nothing: for tests, and for docs/drift.md.

The model takes a row of readings and says how worn a pump is. `python tests/drifted.py` draws the
pictures of docs/drift.md anew.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import sealed
from models import network as nets
from models import tflite_models

import edgeward as ew
from edgeward import Contents, Package, _core, cli
from edgeward.captures.statistics_file import SUFFIX, StatisticsFile
from edgeward.captures.window import Counted, Window

Readings = npt.NDArray[np.float32]
Change = Callable[[int, Readings], None]  # of the readings of an hour, in place

COLUMNS = ["temperature", "pressure", "vibration", "current", "flow"]
CALIBRATION, PER_HOUR, HOURS = 4000, 600, 24
HOUR_NS = 3600 * 10**9
BEGIN_NS = 1_795_651_200 * 10**9  # 2026-11-26 00:00
BOOT = bytes(range(16))
PACKAGE = "pump-3.ewp"
SEED = 16
PICTURES = Path(__file__).parents[1] / "docs" / "pictures"

NETWORK = nets.Network(
    "readings",
    (1, 1, 1, len(COLUMNS)),
    (nets.Dense(np.array([[2], [0], [20], [0], [-1]], np.float32), np.zeros(1, np.float32)),),
    "wear",
)


def readings(generator: np.random.Generator, count: int) -> Readings:
    """[count, columns], of pumps that are well."""
    columns = [
        generator.normal(60, 4, count),
        generator.normal(3, 0.2, count),
        generator.lognormal(-1, 0.4, count),
        generator.normal(12, 1, count),
        generator.gamma(20, 0.5, count),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def calm(hour: int, rows: Readings) -> None:
    pass


def warmer(hour: int, rows: Readings) -> None:
    """From 14:00 on the temperature is half a standard deviation higher."""
    if hour >= 14:
        rows[:, 0] += 2


def broken(hour: int, rows: Readings) -> None:
    """From 18:00 on the vibration is stuck, and the flow is sometimes NaN."""
    if hour >= 18:
        rows[:, 2] = 0.3
        rows[::200, 4] = np.nan


class Pumps:
    """The package of a pump's model in a directory, and windows of pumps that run it."""

    def __init__(self, directory: Path) -> None:
        self._generator = np.random.default_rng(SEED)
        trust = sealed.trust_at(directory / "trust")
        samples = readings(self._generator, CALIBRATION)
        contents = Contents(
            calibration=[{"readings": row.reshape(NETWORK.input_shape)} for row in samples],
            columns={"readings": COLUMNS},
        )
        model = tflite_models.network(NETWORK)
        path = directory / PACKAGE
        sealed.seal(path, 3, contents=contents, model=model, name="pump", version="3")
        package = Package.open(path, trust=trust)
        assert package.reference is not None
        with ew.load_unsigned(model) as loaded:
            (self._signature,) = loaded.signatures.values()
        self._edges = package.reference.edges
        self._release = package.name, package.version, package.package_id, "serving_default"

    def write(self, directory: Path, change: Change, hours: int = HOURS) -> None:
        """Hourly windows of one pump, each a file."""
        directory.mkdir(parents=True)
        for hour in range(hours):
            id = f"{hour:016x}"
            begin_ns = hour * HOUR_NS
            counted = Counted(*self._release, self._statistics(hour, change))
            window = Window(counted, id, BOOT, begin_ns, begin_ns + HOUR_NS, BEGIN_NS + begin_ns)
            StatisticsFile(str(directory / f"{hour:020}-{id}{SUFFIX}")).write(window)

    def _statistics(self, hour: int, change: Change) -> ew.Statistics:
        rows = readings(self._generator, PER_HOUR)
        change(hour, rows)
        counter = _core.make_statistics_counter(self._signature, self._edges)
        for row in rows:
            inputs = row.reshape(NETWORK.input_shape)
            counter.add({"readings": inputs}, {"wear": nets.answer(NETWORK, inputs)})
        return counter.take()


def make(directory: Path) -> None:
    """The package, its trust directory, and `pumps`: a calm one, a warmer and a broken one."""
    pumps = Pumps(directory)
    for name, change in (("north", calm), ("south", warmer), ("west", broken)):
        pumps.write(directory / "pumps" / name, change)


def draw() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        make(Path())
        for device in ("south", "west"):
            words = f"captures stats pumps/{device} --against {PACKAGE} --trust trust --png".split()
            if cli.main([*words, str(PICTURES / f"drift-{device}.png")]) != 1:
                sys.exit(f"{device}: expected drift, got none")


if __name__ == "__main__":
    draw()
