"""Recipe files: JSON and TOML, and those that are neither."""

import pytest

from edgeward.errors import BadInput
from edgeward.inputs.recipe_file import read_recipe
from edgeward.packages.recipe import MOST_BYTES

DOCUMENT = {"inputs": {"image": {"kind": "picture", "mean": [1, 2.5, 3]}}}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"inputs": {"image": {"kind": "picture", "mean": [1, 2.5, 3]}}}'),
        ("a.toml", '[inputs.image]\nkind = "picture"\nmean = [1, 2.5, 3]\n'),
    ],
)
def test_each_form_is_read(tmp_path, name, text):
    if name.endswith(".toml"):
        pytest.importorskip("tomllib")
    (tmp_path / name).write_text(text)
    assert read_recipe(tmp_path / name) == DOCUMENT


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.yaml", b"", 'expected a recipe in .json or .toml, got ".yaml"'),
        ("a.json", b"{", "expected a recipe in .json, got bytes that are not"),
        ("a.toml", b"{", "expected a recipe in .toml, got bytes that are not|expected .json with"),
        ("a.json", b"[" * 100_000, "expected a recipe in .json, got bytes that are not"),
        ("a.json", b"[]", "expected an object, got list"),
        ("a.json", b" " * (MOST_BYTES + 1), "expected at most 1,048,576 bytes, got more"),
    ],
)
def test_other_files_are_refused(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=says):
        read_recipe(tmp_path / name)
