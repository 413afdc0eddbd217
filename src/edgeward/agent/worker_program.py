"""A worker's program, started: a process, and the socket for orders to it.

Needs neither NumPy nor gRPC: a start of the agent begins its workers before it imports these, which
takes as long as a worker takes to begin.
"""

import errno
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class WorkerProgram:
    """One run of the program. `ended` takes what is called with its return code when it has ended.

    The thread that starts the process waits for its end: the kernel ends a worker when the thread
    that started it has gone, and so with the front, but no sooner.
    """

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ended: queue.SimpleQueue[Callable[[int], None]] = queue.SimpleQueue()
        started: queue.SimpleQueue[subprocess.Popen[bytes] | BaseException] = queue.SimpleQueue()
        try:
            threading.Thread(target=self._live, args=(theirs, started), daemon=True).start()
        except RuntimeError as error:  # so threading says it
            self.control.close()
            theirs.close()
            raise BlockingIOError(errno.EAGAIN, f"no further thread: {error}") from None
        process = started.get()
        if isinstance(process, BaseException):
            self.control.close()
            raise process
        self.process = process

    def close(self) -> None:
        """Ends the process, whatever it is at."""
        self.process.kill()
        self.control.close()

    def _live(self, theirs: socket.socket, started: "queue.SimpleQueue[Any]") -> None:
        number = theirs.fileno()
        command = [sys.executable, "-m", "edgeward.agent.worker", str(number)]
        try:
            with theirs:
                process = subprocess.Popen(command, pass_fds=[number], stdin=subprocess.DEVNULL)
        except BaseException as error:
            started.put(error)
            return
        started.put(process)
        status = process.wait()
        with suppress(OSError):  # closed
            self.control.shutdown(socket.SHUT_RDWR)  # ends the wait for a reply, whatever holds it
        self.ended.get()(status)
