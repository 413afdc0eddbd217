"""The signals that end the agent, for a thread that waits for them."""

import select
import signal
import socket

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Ending:
    """Whether a signal has asked for the end, from the moment this is made. In the main thread.

    Python runs handlers in the main thread alone, and no signal ends its wait for a lock when it
    came just before the wait, or to another thread. So the signals are read from a socket, to which
    Python writes their numbers at once.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        for end in self._reader, self._writer:
            end.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                signal.signal(number, lambda number, frame: None)

    def is_asked(self, within_s: float | None = 0) -> bool:
        """Whether the end was asked for, or is before the time is over; None: without a limit."""
        return bool(select.select([self._reader], [], [], within_s)[0])
