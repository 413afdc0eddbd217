"""What each public class says of itself: one line, without elements and addresses."""

import numpy as np
import pytest
import sealed

import edgeward as ew

LONGEST = 400


@pytest.fixture
def shown(tmp_path):
    """An object of each public class."""
    case = ew.Case({"x": np.zeros(4, np.float32)})
    sealed.trust_at(tmp_path / "trust")
    path = sealed.seal(tmp_path / "sum.ewp", contents=ew.Contents(golden=[case]))
    package = ew.Package.open(path, trust=tmp_path / "trust")
    capture = ew.Capture(tmp_path / "captures")
    model = ew.load(path, trust=tmp_path / "trust", capture=capture)
    model.predict(np.zeros(4, np.float32))
    capture.close()
    (window,) = ew.read_windows(tmp_path / "captures")
    session, (signature,) = model.session(), model.signatures.values()
    return [
        case,
        package,
        capture,
        model,
        session,
        session.inputs,
        signature,
        *signature.inputs,
        ew.Contents(),
        ew.Release("sum", "1", counter=1),
        ew.Tolerance(1e-5, 1e-4),
        ew.Trust(tmp_path / "trust"),
        ew.Cursor(tmp_path / "cursor.json"),
        model.engine,
        model.memory,
        next(iter(ew.read_captures(tmp_path / "captures"))),
        next(iter(ew.read_captures(tmp_path / "captures", batch=2))),
        window,
        window.counted.statistics,
        sealed.PUBLISHER,
        sealed.PUBLISHER.public,
        ew.Signer(sealed.PUBLISHER.public, len),
        signature.inputs[0].quantization or _quantization(),
    ]


def _quantization():
    from models import tflite_models

    return ew.load_unsigned(tflite_models.conv_int8()).inputs[0].quantization


def test_each_public_class_says_in_one_line_what_it_is(shown):
    classes = {
        value
        for value in map(ew.__dict__.get, ew.__all__)
        if isinstance(value, type) and not issubclass(value, BaseException)
    }
    assert classes - {type(value) for value in shown} == set()
    for value in shown:
        text = repr(value)
        assert "\n" not in text, text
        assert " at 0x" not in text, text
        assert "array(" not in text, text
        assert len(text) <= LONGEST, text


def test_what_is_no_rule_is_refused(tmp_path):
    for when in (lambda outputs: True, 0.5, "scores"):
        with pytest.raises(ew.BadInput, match="when: expected a rule, such as"):
            ew.Capture(tmp_path / "captures", when=when)
    with pytest.raises(ew.BadInput, match="sample: expected a share or a rule"):
        ew.Capture(tmp_path / "captures", sample=lambda outputs: True)


def test_a_golden_case_has_no_masked_elements(tmp_path):
    masked = np.ma.masked_array(np.zeros(4, np.float32), [1, 0, 0, 0])
    for case in (
        ew.Case({"x": masked}),
        ew.Case({"x": np.zeros(4, np.float32)}, {"y": masked}),
    ):
        with pytest.raises(ew.BadInput, match="masked"):
            sealed.seal(tmp_path / "sum.ewp", contents=ew.Contents(golden=[case]))
