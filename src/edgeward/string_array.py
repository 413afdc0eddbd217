"""Arrays of strings as files have them: of one width, since .npy has no others."""

from typing import TYPE_CHECKING, Any

from edgeward.errors import BadInput

if TYPE_CHECKING:
    from numpy.typing import NDArray


def is_string_array(array: "NDArray[Any]") -> bool:
    """Whether it holds strings, in any of the dtypes that predict takes."""
    return array.dtype.kind in "TOUS"


def fixed_width(array: "NDArray[Any]") -> "NDArray[Any]":
    """The strings as numpy's str or, where they are bytes, its bytes, as wide as the longest.

    Raises BadInput for a string that ends in a zero, which such an array would lose.
    """
    import numpy as np

    items: list[Any] = array.ravel().tolist()
    if has_bytes := any(isinstance(item, bytes) for item in items):
        items = encoded(array)
    if any(item[-1:] in ("\0", b"\0") for item in items):
        raise BadInput("strings: expected none that ends in a zero, which no .npy keeps, got one")
    return np.array(items, bytes if has_bytes else str).reshape(array.shape)


def encoded(array: "NDArray[Any]") -> list[bytes]:
    """The strings in a row, as bytes whatever they are held in: str as UTF-8."""
    items = array.ravel().tolist()
    return [item.encode() if isinstance(item, str) else item for item in items]
