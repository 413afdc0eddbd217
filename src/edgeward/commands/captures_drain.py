"""`edgeward captures drain`: what rings hold, brought to the disk; killed programs' rings too."""

import argparse
import os
import time

from edgeward import _core
from edgeward.captures import rings
from edgeward.captures.capture import MAX_BYTES, SEGMENT_BYTES
from edgeward.captures.limits import default_least_free_bytes
from edgeward.commands.captures_records import add_directory
from edgeward.commands.options import whole_number
from edgeward.errors import Busy
from edgeward.outcome import Outcome

LOOK_EVERY_MS = 200
FLUSH_S = 60.0


def add(parser: argparse.ArgumentParser) -> None:
    add_directory(parser)
    parser.add_argument("--follow", action="store_true", help="go on until interrupted")
    parser.add_argument(
        "--most-bytes",
        type=whole_number(0, (1 << 63) - 1),
        metavar="N",
        default=MAX_BYTES,
        help="for all segments",
    )


def run(args: argparse.Namespace) -> Outcome:
    ring_directory = rings.directory_of(args.directory)
    rings.make_directory(ring_directory)
    budget = _core.Budget()
    budget.segment_bytes = SEGMENT_BYTES
    budget.most_bytes = args.most_bytes
    budget.least_free_bytes = default_least_free_bytes(args.directory)
    drain = _core.make_drain(ring_directory, os.path.abspath(args.directory), budget)
    if drain.holder:
        raise Busy(drain.holder)
    try:
        while args.follow:
            time.sleep(LOOK_EVERY_MS / 1000)
    except KeyboardInterrupt:
        pass
    finally:
        deadline_s = time.monotonic() + FLUSH_S
        while not drain.flush(LOOK_EVERY_MS) and not drain.complaint:
            if time.monotonic() >= deadline_s:
                break
        complaint = drain.complaint
        drain.close()
    report = {"directory": str(args.directory), **drain.counters, "complaint": complaint}
    text = f"{report['records']:,} records brought to {args.directory}"
    if report["recovered_frames"]:
        text += f"; {report['recovered_frames']:,} frames of open segments recovered"
    if report["evicted_records"]:
        text += f"; {report['evicted_records']:,} older records deleted to make room"
    if complaint:
        text += f"\nthe disk refuses: {complaint}"
    return Outcome(report, text, 1 if complaint else 0)
