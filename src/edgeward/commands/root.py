"""`edgeward root`: trust roots, made, changed and accepted, step by step."""

import argparse

from edgeward.commands import root_accept, root_add_key, root_init, root_revoke, root_rotate
from edgeward.commands.steps import Step, add_steps, run_step
from edgeward.outcome import Outcome

STEPS = (
    Step("init", "Make a trust root, with no publisher in it yet.", root_init),
    Step("add-key", "Let one more key sign packages, or trust roots.", root_add_key),
    Step("rotate", "Renew it: its expiry, its own keys, its epoch.", root_rotate),
    Step("revoke", "Revoke a key: no signature of it counts from now on.", root_revoke),
    Step("accept", "Replace this device's trust root with its next versions.", root_accept),
)


def add(parser: argparse.ArgumentParser) -> None:
    add_steps(parser, STEPS)


def run(args: argparse.Namespace) -> Outcome:
    return run_step(args)
