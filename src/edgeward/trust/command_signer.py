"""A program that signs, such as one that asks a key service: "command:KEY.pub PROGRAM ARGUMENT...".

It gets the bytes to sign on standard input, a file that can be read again, and answers on standard
output with the signature, as it is or in base64; of ecdsa-p256 in DER, too. No shell reads the
words: they are split as a shell would, and the program runs in a session of its own, without a
terminal, which ends with all that it started when the time is up.
"""

import base64
import os
import shlex
import shutil
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from edgeward import _core
from edgeward.errors import BadInput, SignerFailed

if TYPE_CHECKING:
    from subprocess import Popen

LIMIT_S = 60.0
MOST_ANSWER_BYTES = 4096
MOST_WORDS_BYTES = 1000  # of what it said that a message shows
SIGNATURE_BYTES = 64


class Ended(NamedTuple):
    """What a program answered. `status` is below 0 when a signal ended it, None when we did."""

    status: int | None
    answer: bytes
    words: bytes  # on standard error, the last of them


def open_command_signer(name: str) -> _core.Signer:
    """The signer that `name` says. Nothing runs yet.

    Raises BadInput for a text that names no key and program, OSError, MalformedKey.
    """
    where = f'signer "{name}"'
    try:
        key_path, *words = shlex.split(name.partition(":")[2])
    except ValueError:
        key_path, words = "", []
    if not words or not os.path.exists(key_path):
        raise BadInput(
            f'{where}: expected "command:KEY.pub PROGRAM ARGUMENT...", the file of the public key '
            f"first, got no such {'program' if not words else f'file as {key_path!r}'}"
        )
    if shutil.which(words[0]) is None:
        raise BadInput(f'{where}: expected a program that can be run, got "{words[0]}"')
    key = _core.PublicKey.read(key_path)

    def sign(message: bytes) -> bytes:
        ended = _run(words, message)
        said = ended.words.decode(errors="backslashreplace").strip()
        hint = f"; it said: {said}" if said else ""
        if ended.status is None:
            raise SignerFailed(
                f"{where}: expected a signature of at most {MOST_ANSWER_BYTES} bytes within "
                f"{LIMIT_S:g} s, got {len(ended.answer)} bytes and no end: it was ended{hint}"
            )
        if ended.status != 0:
            got = f"signal {-ended.status}" if ended.status < 0 else f"status {ended.status}"
            raise SignerFailed(f"{where}: expected it to end with status 0, got {got}{hint}")
        return plain_signature(ended.answer)

    return _core.Signer(key, sign, name)


def plain_signature(answer: bytes) -> bytes:
    """The 64 bytes of a signature in what a program answered; any other answer as it is."""
    if len(answer) == SIGNATURE_BYTES:
        return answer
    with suppress(ValueError):
        answer = base64.b64decode(b"".join(answer.split()), validate=True)
    numbers = _der_numbers(answer)
    return answer if numbers is None else b"".join(numbers)


def _der_numbers(der: bytes) -> tuple[bytes, bytes] | None:
    """r and s, 32 bytes each, of an ECDSA signature (RFC 3279, 2.2.3); None when it is none."""
    if der[:1] != b"\x30" or len(der) < 2 or der[1] != len(der) - 2:
        return None
    numbers, rest = [], der[2:]
    while len(rest) >= 2 and rest[0] == 2 and rest[1] <= len(rest) - 2:
        number, rest = rest[2 : 2 + rest[1]].lstrip(b"\0"), rest[2 + rest[1] :]
        numbers.append(number.rjust(SIGNATURE_BYTES // 2, b"\0"))
    if rest or len(numbers) != 2 or any(len(number) > SIGNATURE_BYTES // 2 for number in numbers):
        return None
    return numbers[0], numbers[1]


def _run(words: list[str], message: bytes) -> Ended:
    """Runs the program to its end, its limit of time or its limit of answer. Raises OSError."""
    import subprocess

    with os.fdopen(os.memfd_create("message", os.MFD_CLOEXEC), "w+b") as file:
        file.write(message)
        file.seek(0)
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            words, stdin=file, stdout=pipe, stderr=pipe, start_new_session=True
        )
    with process:
        try:
            return _read(process)
        finally:
            if process.returncode is None:  # also when the user interrupts
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def _read(process: "Popen[bytes]") -> Ended:
    """What the process answers and says until it has ended, or until a limit."""
    import selectors
    import subprocess

    assert process.stdout is not None
    assert process.stderr is not None
    end_s = time.monotonic() + LIMIT_S
    answer = words = b""
    with selectors.DefaultSelector() as open_pipes:
        open_pipes.register(process.stdout, selectors.EVENT_READ)
        open_pipes.register(process.stderr, selectors.EVENT_READ)
        while open_pipes.get_map() and len(answer) <= MOST_ANSWER_BYTES:
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                return Ended(None, answer, words)
            for pipe, _ in open_pipes.select(left_s):
                part = os.read(pipe.fd, 1 << 16)
                if not part:
                    open_pipes.unregister(pipe.fileobj)
                elif pipe.fileobj is process.stdout:
                    answer += part
                else:
                    words = (words + part)[-MOST_WORDS_BYTES:]
    if len(answer) <= MOST_ANSWER_BYTES:
        with suppress(subprocess.TimeoutExpired):
            return Ended(process.wait(max(0.0, end_s - time.monotonic())), answer, words)
    return Ended(None, answer, words)
