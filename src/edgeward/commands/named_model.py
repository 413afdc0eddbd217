"""The model that a command line names: in a package that this device trusts, or in a bare file."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Protocol

from edgeward import Model, Package, load_unsigned
from edgeward.errors import BadInput
from edgeward.packages.package import is_package

if TYPE_CHECKING:
    from edgeward import Capture


class Opener(Protocol):
    def __call__(self, threads: int | None, capture: Capture | None = None) -> Model: ...


def opener(args: argparse.Namespace, *, commit: bool = True) -> Opener:
    """What opens `args.model` with so many engine threads and a Capture, as often as it is called.

    The package is verified when this is called, and again at each opening. With `commit` False the
    device remembers nothing of it. Raises BadInput for a bare file with --trust or --key, and as
    Package.open.
    """
    if is_package(args.model):
        package = Package.open(args.model, trust=args.trust, key=args.key)
        return lambda threads, capture=None: package.load(
            engine=args.engine, threads=threads, capture=capture, commit=commit
        )
    require_bare(args)
    return lambda threads, capture=None: load_unsigned(
        args.model, engine=args.engine, threads=threads, capture=capture
    )


def require_bare(args: argparse.Namespace) -> None:
    """Raises BadInput for a file that is no package when --trust or --key asks for one, OSError."""
    if args.trust is not None or args.key is not None:
        os.stat(args.model)  # one that is not there is no bare model
        raise BadInput(f"{args.model}: expected a package with --trust or --key, got a bare model")
