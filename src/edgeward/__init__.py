"""Run machine-learning models on edge devices: numpy in, numpy out, no copies between.

    import edgeward as ew

    model = ew.load("person-2.1.ewp")
    scores = model.predict(image)

Importing this opens no engine; the first model that is loaded does.
"""

from edgeward import main_interpreter  # noqa: F401, I001 - first: the core hangs in others
from typing import TYPE_CHECKING, Any

from edgeward._core import (
    EngineReport,
    MemoryReport,
    Model,
    PrivateKey,
    PublicKey,
    Quantization,
    Session,
    Signature,
    Signer,
    Statistics,
    TensorSpec,
    empty,
)
from edgeward.errors import (
    BadInput,
    Busy,
    Closed,
    EdgewardError,
    EngineFailed,
    EngineMismatch,
    EngineMissing,
    ExpiredPackage,
    ExpiredRoot,
    Forked,
    MalformedCapture,
    MalformedKey,
    MalformedModel,
    MalformedPackage,
    MalformedRoot,
    OutOfMemory,
    OverBudget,
    PassedOver,
    RollbackRefused,
    SignerFailed,
    UnsupportedModel,
    UntrustedPackage,
    UntrustedRoot,
    WrongKey,
    WrongTarget,
)
from edgeward.model import load, load_unsigned

if TYPE_CHECKING:
    from edgeward.captures import redact, rules
    from edgeward.captures.batch import Batch
    from edgeward.captures.capture import Capture
    from edgeward.captures.captured import Captured, read_captures
    from edgeward.captures.cursor import Cursor
    from edgeward.captures.statistics_file import read_statistics
    from edgeward.captures.window import Window
    from edgeward.captures.windows import read_windows
    from edgeward.packages.contents import Case, Contents, Tolerance
    from edgeward.packages.package import Package
    from edgeward.trust.release import Release
    from edgeward.trust.signer import open_signer
    from edgeward.trust.trust_directory import Trust

__version__ = "0.1.0"

__all__ = [
    "BadInput",
    "Batch",
    "Busy",
    "Capture",
    "Captured",
    "Case",
    "Closed",
    "Contents",
    "Cursor",
    "EdgewardError",
    "EngineFailed",
    "EngineMismatch",
    "EngineMissing",
    "EngineReport",
    "ExpiredPackage",
    "ExpiredRoot",
    "Forked",
    "MalformedCapture",
    "MalformedKey",
    "MalformedModel",
    "MalformedPackage",
    "MalformedRoot",
    "MemoryReport",
    "Model",
    "OutOfMemory",
    "OverBudget",
    "Package",
    "PassedOver",
    "PrivateKey",
    "PublicKey",
    "Quantization",
    "Release",
    "RollbackRefused",
    "Session",
    "Signature",
    "Signer",
    "SignerFailed",
    "Statistics",
    "TensorSpec",
    "Tolerance",
    "Trust",
    "UnsupportedModel",
    "UntrustedPackage",
    "UntrustedRoot",
    "Window",
    "WrongKey",
    "WrongTarget",
    "empty",
    "load",
    "load_unsigned",
    "open_signer",
    "read_captures",
    "read_statistics",
    "read_windows",
    "redact",
    "rules",
]


# A program that runs a model needs none of these. Importing them takes longer than the rest does.
_MODULES = {
    "Batch": "edgeward.captures.batch",
    "Capture": "edgeward.captures.capture",
    "Captured": "edgeward.captures.captured",
    "Case": "edgeward.packages.contents",
    "Contents": "edgeward.packages.contents",
    "Cursor": "edgeward.captures.cursor",
    "Package": "edgeward.packages.package",
    "Release": "edgeward.trust.release",
    "Tolerance": "edgeward.packages.contents",
    "Trust": "edgeward.trust.trust_directory",
    "Window": "edgeward.captures.window",
    "open_signer": "edgeward.trust.signer",
    "read_captures": "edgeward.captures.captured",
    "read_statistics": "edgeward.captures.statistics_file",
    "read_windows": "edgeward.captures.windows",
    "redact": "edgeward.captures",
    "rules": "edgeward.captures",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(__import__(module, fromlist=[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
