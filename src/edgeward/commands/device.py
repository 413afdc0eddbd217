"""`edgeward device`: the devices of a fleet, by step."""

import argparse

from edgeward.commands import device_add
from edgeward.commands.steps import Step, add_steps, run_step

STEPS = (Step("add", "Lay out a device's trust directory, with a key of its own.", device_add),)
run = run_step


def add(parser: argparse.ArgumentParser) -> None:
    add_steps(parser, STEPS)
