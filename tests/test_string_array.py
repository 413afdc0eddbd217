"""Arrays of strings as files have them."""

from __future__ import annotations

import numpy as np
import pytest
import test_strings

import edgeward as ew
from edgeward.packages.contents import Case
from edgeward.packages.golden import Golden
from edgeward.string_array import encoded, fixed_width, is_string_array

WORDS = [["cat", ""], ["Größe", "two words"]]


@pytest.mark.parametrize("dtype", [object, str])
def test_strings_get_one_width(dtype):
    array = fixed_width(np.array(WORDS, dtype))
    assert array.dtype == "U9"
    assert array.tolist() == WORDS
    assert encoded(array) == [b"cat", b"", "Größe".encode(), b"two words"]


def test_bytes_stay_bytes_and_make_bytes_of_all():
    array = fixed_width(np.array([b"\xff", "ä"], object))
    assert array.tolist() == [b"\xff", "ä".encode()]
    assert is_string_array(array)
    assert not is_string_array(np.zeros(3))


@pytest.mark.parametrize("item", ["a\0", b"a\0", "\0"])
def test_a_zero_at_the_end_is_refused_since_it_would_be_lost(item):
    with pytest.raises(ew.BadInput, match="none that ends in a zero"):
        fixed_width(np.array(["b", item], object))


def test_golden_cases_with_strings_are_kept_and_replayed():
    model = ew.load_unsigned(test_strings.concat(), engine="onnx")
    inputs = {"a": [["a", "b"]], "b": [["", "ü"]]}
    golden = Golden.record(model, [Case(inputs, {})])
    again = Golden.from_bytes(golden.to_bytes(), "here")
    assert [difference.passed for difference in again.replay(model)] == [True]
    other = Golden([Case(again.cases[0].inputs, {"y": np.array([["a", "bx"]])})])
    (difference,) = other.replay(model)
    assert not difference.passed
    assert "expected b'bx' at [0, 1], got b'b\\xc3\\xbc'" in difference.text
    (difference,) = Golden([Case(again.cases[0].inputs, {"y": np.array(["a"])})]).replay(model)
    assert "expected string [1], got [1, 2]" in difference.text


def test_the_command_line_reads_and_writes_strings(tmp_path, monkeypatch, typed):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.onnx").write_bytes(test_strings.echo())
    np.save("words.npy", np.array(["cat", "Größe"]))
    status, out, _ = typed("predict text.onnx words.npy")
    assert (status, "y  string [2]" in out, "cat" in out) == (0, True, True)
    for name in ("out.npz", "out.npy"):
        assert typed(f"predict text.onnx words.npy -o {name}")[0] == 0
    assert np.load("out.npy").tolist() == np.load("out.npz")["y"].tolist() == ["cat", "Größe"]
    status, _, err = typed("bench text.onnx")
    assert (status, 'input "x": expected numbers, got string' in err) == (3, True)


def test_records_leave_strings_out_and_statistics_count_nothing_of_them(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "rings"))
    content, arrays = test_strings.MODELS["split"]
    with ew.Capture(tmp_path / "captures", sample=1.0) as capture:
        model = ew.load_unsigned(content, engine="onnx", capture=capture)
        model.predict(*arrays)
        capture.flush()
        (record,) = ew.read_captures(tmp_path / "captures")
        assert (list(record.inputs), list(record.outputs)) == ([], ["n"])
        assert record.outputs["n"].tolist() == [1, 0, 2, 1, 1, 1]
        assert model.statistics["main"].run_count == 1
