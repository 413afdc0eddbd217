"""The service manager, systemd or one with its protocol: notes to it, sockets from it."""

import logging
import os
import socket

log = logging.getLogger(__name__)

FIRST_DESCRIPTOR = 3


def notify(state: str) -> None:
    """Tells "READY=1", "STOPPING=1" or "WATCHDOG=1"; nothing where no service manager listens.

    One that does not listen at this moment, as while it is replaced, ends no agent.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier:
            notifier.connect("\0" + address[1:] if address.startswith("@") else address)
            notifier.send(state.encode())
    except OSError as error:
        log.warning("service manager: not told %s: %s", state, error)


def watchdog_period_s() -> float | None:
    """How often "WATCHDOG=1" is expected, or None."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    period_us = os.environ.get("WATCHDOG_USEC", "")
    return int(period_us) / 1e6 if period_us.isdecimal() else None


def passed_sockets() -> dict[str, socket.socket]:
    """The listening sockets that this process was started with, by name; "unknown" without one."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    count = int(os.environ.get("LISTEN_FDS", "0"))
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    names += ["unknown"] * (count - len(names))
    sockets = {}
    for descriptor, name in zip(
        range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + count), names, strict=False
    ):
        os.set_inheritable(descriptor, False)
        sockets[name] = socket.socket(fileno=descriptor)
    return sockets
