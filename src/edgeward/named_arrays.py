"""NamedArrays: arrays by the names of tensors; a wrong name is told the right ones."""

from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_SHOWN = 3  # in the text of all


class NamedArrays(dict[str, "NDArray[Any]"]):
    """A dict whose text has no elements of its arrays, and whose KeyError lists the names."""

    def __missing__(self, name: object) -> NoReturn:
        known = ", ".join(f'"{known}"' for known in self) or "no tensor"
        raise KeyError(f"expected {known}, got {name!r}")

    def __repr__(self) -> str:
        shown = [f"{name}: {array_text(array)}" for name, array in list(self.items())[:MOST_SHOWN]]
        rest = [f"{len(self) - MOST_SHOWN} more"] if len(self) > MOST_SHOWN else []
        return "{" + ", ".join(shown + rest) + "}"


def array_text(array: "NDArray[Any]") -> str:
    """For example "float32 [1, 10]"; of what is no array, its type."""
    if not hasattr(array, "dtype"):
        return type(array).__name__
    return f"{array.dtype} {list(array.shape)}"
