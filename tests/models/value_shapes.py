"""Small .tflite models with shapes that depend on values, and what to call each with, in turn.

`ALL` has, by name, the file and the calls: outputs grow, shrink, and have no rows at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .tflite_writer import NONE, Op, Signature, Subgraph, Tensor, constant, model

Inputs = Mapping[str, npt.NDArray[Any]]


class ValueShapes(NamedTuple):
    content: Callable[[], bytes]
    calls: Callable[[], Iterator[Inputs]]
    operator: str  # the first that leaves a shape open


def ints(name: str, *values: int) -> Tensor:
    return constant(name, np.array(values, np.int32))


def floats(*shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


def top_k() -> bytes:
    """The k largest of x and where they are; k is an input."""
    tensors = [
        Tensor("x", "float32", (2, 16)),
        Tensor("k", "int32", ()),
        Tensor("values", "float32", (2, 1), shape_signature=(2, -1)),
        Tensor("places", "int32", (2, 1), shape_signature=(2, -1)),
    ]
    op = Op("TOPK_V2", ["x", "k"], ["values", "places"])
    return model([Subgraph(tensors, [op], ["x", "k"], ["values", "places"])])


def where() -> bytes:
    """The rows of x that `wanted` marks, and how many outputs they make beside -x."""
    tensors = [
        Tensor("x", "float32", (8, 3)),
        Tensor("wanted", "bool", (8,)),
        Tensor("rows", "int64", (8, 1), shape_signature=(-1, 1)),
        Tensor("picked", "float32", (8, 3), shape_signature=(-1, 3)),
        Tensor("negated", "float32", (8, 3)),
    ]
    ops = [
        Op("WHERE", ["wanted"], ["rows"]),
        Op("GATHER_ND", ["x", "rows"], ["picked"]),
        Op("NEG", ["x"], ["negated"]),
    ]
    return model([Subgraph(tensors, ops, ["x", "wanted"], ["picked", "negated"])])


def unique() -> bytes:
    """The different numbers of x, in order, and for each element which of them it is."""
    tensors = [
        Tensor("x", "int32", (8,)),
        Tensor("numbers", "int32", (1,), shape_signature=(-1,)),
        Tensor("which", "int32", (8,)),
    ]
    op = Op("UNIQUE", ["x"], ["numbers", "which"], {"index_type": 2})
    return model([Subgraph(tensors, [op], ["x"], ["numbers", "which"])])


def suppression() -> bytes:
    """Boxes that overlap no better one: their rows of `boxes`, as many as there are."""
    tensors = [
        Tensor("boxes", "float32", (6, 4)),
        Tensor("scores", "float32", (6,)),
        constant("most", np.array(6, np.int32)),
        constant("overlap", np.array(0.5, np.float32)),
        constant("least", np.array(0.2, np.float32)),
        Tensor("kept", "int32", (6,)),
        Tensor("count", "int32", ()),
        ints("from", 0),
        ints("axis", 0),
        Tensor("size", "int32", (1,)),
        Tensor("best", "int32", (1,), shape_signature=(-1,)),
        Tensor("y", "float32", (1, 4), shape_signature=(-1, 4)),
    ]
    ops = [
        Op(
            "NON_MAX_SUPPRESSION_V4",
            ["boxes", "scores", "most", "overlap", "least"],
            ["kept", "count"],
        ),
        Op("PACK", ["count"], ["size"], {"count": 1, "axis": 0}),
        Op("SLICE", ["kept", "from", "size"], ["best"]),
        Op("GATHER", ["boxes", "best"], ["y"], {"axis": 0}),
    ]
    return model([Subgraph(tensors, ops, ["boxes", "scores"], ["y"])])


def reshape(is_declared: bool = True) -> bytes:
    """x with the shape that `to` says; the file may not show that it varies."""
    tensors = [
        Tensor("x", "float32", (2, 6)),
        Tensor("to", "int32", (2,)),
        Tensor("y", "float32", (1, 12), shape_signature=(-1, -1) if is_declared else None),
    ]
    return model([Subgraph(tensors, [Op("RESHAPE", ["x", "to"], ["y"])], ["x", "to"], ["y"])])


def flattened(batch: int = -1) -> bytes:
    """x with all but its first dimension in one, plus 1, as a converter writes it for any batch.

    The engine computes SHAPE and STRIDED_SLICE early, and PACK not.
    """
    tensors = [
        Tensor("x", "float32", (1, 4, 6), shape_signature=(batch, 4, 6)),
        Tensor("shape", "int32", (3,)),
        ints("begin", 0),
        ints("end", 1),
        ints("stride", 1),
        Tensor("batch", "int32", ()),
        constant("rest", np.array(24, np.int32)),
        Tensor("to", "int32", (2,)),
        Tensor("flat", "float32", (1, 24), shape_signature=(batch, 24)),
        constant("one", np.ones(1, np.float32)),
        Tensor("y", "float32", (1, 24), shape_signature=(batch, 24)),
    ]
    ops = [
        Op("SHAPE", ["x"], ["shape"], {"type": 2}),
        Op("STRIDED_SLICE", ["shape", "begin", "end", "stride"], ["batch"], {"shrink_axis": 1}),
        Op("PACK", ["batch", "rest"], ["to"], {"count": 2, "axis": 0}),
        Op("RESHAPE", ["x", "to"], ["flat"]),
        Op("ADD", ["flat", "one"], ["y"], {"activation": NONE}),
    ]
    signature = Signature("serve", {"x": "x"}, {"y": "y"})
    return model([Subgraph(tensors, ops, ["x"], ["y"])], [signature])


def counted() -> bytes:
    """How many of x are true: a fixed shape behind one that varies."""
    tensors = [
        Tensor("x", "bool", (9,)),
        Tensor("rows", "int64", (9, 1), shape_signature=(-1, 1)),
        Tensor("numbers", "int32", (9, 1), shape_signature=(-1, 1)),
        ints("axis", 0),
        Tensor("y", "int32", (1,)),
    ]
    ops = [
        Op("WHERE", ["x"], ["rows"]),
        Op("CAST", ["rows"], ["numbers"], {"from": 4, "to": 2}),
        Op("SUM", ["numbers", "axis"], ["y"], {"keep_dims": False}),
    ]
    return model([Subgraph(tensors, ops, ["x"], ["y"])])


def branches() -> bytes:
    """The first `n` of x when `short`, else -x: of two subgraphs, one has an open shape."""
    main = Subgraph(
        [
            Tensor("short", "bool", ()),
            Tensor("x", "float32", (8,)),
            Tensor("n", "int32", (1,)),
            Tensor("y", "float32", (1,), shape_signature=(-1,)),
        ],
        [Op("IF", ["short", "x", "n"], ["y"], {"then": 1, "otherwise": 2})],
        ["short", "x", "n"],
        ["y"],
    )
    then = Subgraph(
        [
            Tensor("x", "float32", (8,)),
            Tensor("n", "int32", (1,)),
            ints("from", 0),
            Tensor("y", "float32", (1,), shape_signature=(-1,)),
        ],
        [Op("SLICE", ["x", "from", "n"], ["y"])],
        ["x", "n"],
        ["y"],
    )
    otherwise = Subgraph(
        [Tensor("x", "float32", (8,)), Tensor("n", "int32", (1,)), Tensor("y", "float32", (8,))],
        [Op("NEG", ["x"], ["y"])],
        ["x", "n"],
        ["y"],
    )
    return model([main, then, otherwise])


def _top_k_calls() -> Iterator[Inputs]:
    for k in (1, 5, 16, 0, 3):
        yield {"x": floats(2, 16), "k": np.array(k, np.int32)}


def _where_calls() -> Iterator[Inputs]:
    for count in (3, 8, 0, 5, 0, 1):
        yield {"x": floats(8, 3), "wanted": np.arange(8) < count}


def _unique_calls() -> Iterator[Inputs]:
    for different in (1, 8, 3, 5):
        yield {"x": np.arange(8, dtype=np.int32) * 7 % different}


def _suppression_calls() -> Iterator[Inputs]:
    corners = np.array([0, 0.1, 0.05, 5, 5.1, 9], np.float32)
    boxes = np.stack([corners, corners, corners + 1, corners + 1], axis=1)
    for least in (0.3, 0.9, 0.0, 0.6):
        yield {"boxes": boxes, "scores": np.linspace(least, 0.1, 6, dtype=np.float32)}


def _reshape_calls() -> Iterator[Inputs]:
    for rows in (3, 1, 12, 4):
        yield {"x": floats(2, 6), "to": np.array([rows, 12 // rows], np.int32)}


def _flattened_calls() -> Iterator[Inputs]:
    for batch in (1, 3, 7, 2):
        yield {"x": floats(batch, 4, 6)}


def _counted_calls() -> Iterator[Inputs]:
    for count in (0, 9, 4):
        yield {"x": np.arange(9) < count}


def _branches_calls() -> Iterator[Inputs]:
    for short, n in ((True, 3), (False, 2), (True, 8), (True, 0)):
        yield {"short": np.array(short), "x": floats(8), "n": np.array([n], np.int32)}


ALL = {
    "top_k": ValueShapes(top_k, _top_k_calls, "operator 0 (TOPK_V2)"),
    "where": ValueShapes(where, _where_calls, "operator 0 (WHERE)"),
    "unique": ValueShapes(unique, _unique_calls, "operator 0 (UNIQUE)"),
    "suppression": ValueShapes(suppression, _suppression_calls, "operator 2 (SLICE)"),
    "reshape": ValueShapes(reshape, _reshape_calls, "operator 0 (RESHAPE)"),
    "undeclared": ValueShapes(lambda: reshape(False), _reshape_calls, "operator 0 (RESHAPE)"),
    "flattened": ValueShapes(flattened, _flattened_calls, "operator 3 (RESHAPE)"),
    "counted": ValueShapes(counted, _counted_calls, "operator 0 (WHERE)"),
    "branches": ValueShapes(branches, _branches_calls, "operator 0 (IF)"),
}
