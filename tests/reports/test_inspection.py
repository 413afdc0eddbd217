"""What is said of an engine and of the nodes that it runs."""

from typing import Any

import pytest

from edgeward.reports import inspection


def engine(**changes: Any) -> dict[str, Any]:
    facts = {"name": "litert", "version": "2.3.0", "delegate": "XNNPACK", "threads": 1}
    return facts | {"node_count": 5, "fallback_count": 0} | changes


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "litert 2.3.0 with XNNPACK, 1 thread"),
        ({"threads": 2}, "litert 2.3.0 with XNNPACK, 2 threads"),
        ({"delegate": "none"}, "litert 2.3.0, 1 thread"),
        ({"name": "tflite", "version": "2.14.0", "delegate": ""}, "tflite 2.14.0, 1 thread"),
    ],
)
def test_an_engine_is_named_with_the_delegate_that_it_has(
    changes: dict[str, Any], text: str
) -> None:
    assert inspection.engine_text(engine(**changes)) == text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "5, all run by XNNPACK"),
        ({"fallback_count": 2}, "5, of which 2 fell back to the engine's reference kernels"),
        ({"fallback_count": None}, "5"),
        ({"node_count": None}, "the engine does not tell"),
    ],
)
def test_nodes_are_counted_as_far_as_the_engine_tells(changes: dict[str, Any], text: str) -> None:
    assert inspection.nodes_text(engine(**changes)) == text
