"""The ways Edgeward can fail: one class for each code of the core (cpp/error.h), drawn in one tree.

A message is one line: what, which, expected, got. Programs tell failures apart by class or by
`code`, which is the class's name in snake case, never by the text. `exit_status` is what the
command line returns: 2 bad input or wrong use, 3 a bad model or package, 4 an engine problem, 5 the
system, 6 a package that may not run here.
"""

# ruff: noqa: N818 - named by what is wrong, as in the core

from typing import ClassVar


class EdgewardError(Exception):
    """Any failure that Edgeward itself reports; only its subclasses are raised.

    `code` is the class's name in snake case, as --json has it; `exit_status` is the command line's.
    """

    code: ClassVar[str]  # as spelled in the core and in --json: the class's name in snake case
    exit_status: ClassVar[int]

    def __init_subclass__(cls) -> None:
        # Compiling a regular expression takes longer than all else in this module.
        words = "".join(f"_{letter}" if letter.isupper() else letter for letter in cls.__name__)
        cls.code = words[1:].lower()


class BadInput(EdgewardError, ValueError):
    """Raised when a tensor, name, shape or option given by the caller does not fit the model."""

    exit_status = 2


class MalformedModel(EdgewardError):
    """Raised when the model's bytes break their own format."""

    exit_status = 3


class UnsupportedModel(EdgewardError):
    """Raised when a well-formed model is outside what this engine or the core can run."""

    exit_status = 3


class EngineMissing(EdgewardError):
    """Raised when an engine is not installed, or its library could not be opened."""

    exit_status = 4


class EngineMismatch(EdgewardError):
    """Raised when an engine lacks a symbol, is outside the checked versions, or dies here."""

    exit_status = 4


class EngineFailed(EdgewardError):
    """Raised when the engine itself reported an error while it loaded or ran a model."""

    exit_status = 4


class OutOfMemory(EdgewardError):
    """Raised when the system refused memory."""

    exit_status = 5


class OverBudget(EdgewardError):
    """Raised when a model needs more memory than the budget leaves, before the system refuses."""

    exit_status = 5


class Closed(EdgewardError):
    """Raised when a model or session is used after close()."""

    exit_status = 2


class Busy(EdgewardError):
    """Raised when a second thread enters a session; a session belongs to one thread at a time."""

    exit_status = 2


class Forked(EdgewardError):
    """Raised when a model is used in a child process of the one that loaded it."""

    exit_status = 2


class MalformedPackage(EdgewardError):
    """Raised when a package's bytes break the format, or are not the ones that were signed."""

    exit_status = 3


class UntrustedPackage(EdgewardError):
    """Raised when a package lacks the signatures that the trust root asks for."""

    exit_status = 6


class RollbackRefused(EdgewardError):
    """Raised when a package or trust root is older than what this device has accepted."""

    exit_status = 6


class WrongKey(EdgewardError):
    """Raised when the content key of an encrypted package cannot be had with this device's key."""

    exit_status = 6


class WrongTarget(EdgewardError):
    """Raised when a package was sealed for another kind of machine, or for another device."""

    exit_status = 6


class ExpiredPackage(EdgewardError):
    """Raised when a package is past the day that its publisher set."""

    exit_status = 6


class MalformedRoot(EdgewardError):
    """Raised when the bytes of a trust root break their format."""

    exit_status = 3


class UntrustedRoot(EdgewardError):
    """Raised when a trust root lacks the signatures it needs."""

    exit_status = 6


class ExpiredRoot(EdgewardError):
    """Raised when the trust root is past its day."""

    exit_status = 6


class MalformedKey(EdgewardError):
    """Raised when the bytes of a key or of a key wrap break their format."""

    exit_status = 2


class SignerFailed(EdgewardError):
    """Raised when a token or a command that signs gives no signature of its key."""

    exit_status = 5


class MalformedCapture(EdgewardError):
    """Raised when the bytes of a captured segment or of statistics break their format."""

    exit_status = 3


class PassedOver(UserWarning):
    """Warns of captured records that cannot be read: damaged ones, and shapes that no array has."""


BY_CODE = {error.code: error for error in EdgewardError.__subclasses__()}  # what the core raises
