"""From a model to a package: which members, in which form, and what is refused before."""

import numpy as np
import pytest
import sealed
from models import onnx_models, tflite_models

from edgeward import Case, Contents, Package, Release, _core
from edgeward.errors import BadInput, MalformedModel
from edgeward.packages import sealing

RELEASE = Release("demo", "1", 1)
X = np.arange(4, dtype=np.float32)


def seal(path, **options):
    words = {"model": sealed.MODEL, "keys": [sealed.PUBLISHER], "contents": Contents(), **options}
    model, keys, contents = (words.pop(name) for name in ("model", "keys", "contents"))
    return Package.seal(model, path, RELEASE, keys, contents, **words)


@pytest.mark.parametrize(
    ("model", "name", "kind"),
    [
        (tflite_models.add((4,)), "model.tflite", "tflite"),
        (onnx_models.to_ort(onnx_models.add((4,))), "model.ort", "onnx"),
    ],
)
def test_what_opens_in_place_is_sealed_as_it_is(tmp_path, model, name, kind):
    (tmp_path / "source").write_bytes(model)
    for source in (model, memoryview(model), tmp_path / "source", str(tmp_path / "source")):
        (member,) = sealing.model_members(source, converts=True, keeps_original=True)
        assert member[:3] == (name, kind, True)
        is_file = isinstance(member.content, _core.ModelFile)
        assert model == (member.content.head(len(model) + 1) if is_file else member.content)


def test_the_entry_comes_first(tmp_path):
    contents = Contents([Case({"x": X})], calibration=[{"x": X}], card="card", labels=list("abcd"))
    seal(tmp_path / "p.ewp", contents=contents)
    members = Package.unverified(tmp_path / "p.ewp").members
    assert [member.is_entry for member in members] == [True, False, False, False, False]


def test_the_id_is_the_packages(tmp_path):
    assert seal(tmp_path / "p.ewp") == Package.unverified(tmp_path / "p.ewp").package_id


def test_progress_counts_what_takes_long_to_its_end(tmp_path):
    counted = {}

    def note(noun, done, total):
        assert counted.get(noun, 0) <= done <= total
        counted[noun] = done
        totals[noun] = total

    totals = {}
    seal(tmp_path / "p.ewp", contents=Contents(calibration=[{"x": X}] * 5), progress=note)
    assert set(counted) == {sealing.SEALED_BYTES, sealing.CALIBRATION_RUNS}
    assert counted == totals
    assert counted[sealing.CALIBRATION_RUNS] == 2 * 5  # the range first, then what lies in its bins


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"keys": [sealed.DEVICE]}, BadInput, "signing key: expected an ed25519 or ecdsa-p256"),
        ({"encrypt_to": [sealed.PUBLISHER.public]}, BadInput, "device key: expected an x25519"),
        ({"keys": []}, BadInput, "sign"),
        ({"cipher": "rot13", "encrypt_to": [sealed.DEVICE.public]}, BadInput, "rot13"),
        ({"model": b""}, MalformedModel, "an empty file"),
        ({"model": sealed.MODEL[:100]}, MalformedModel, "vtable"),
        ({"engine": "onnx"}, BadInput, "onnx"),
        ({"contents": Contents([Case({"y": X})])}, BadInput, "'y'"),
        ({"contents": Contents(calibration=[{"x": X[:2]}])}, BadInput, '"x"'),
        (
            {"contents": Contents(labels=["a", "b", "c"])},
            BadInput,
            'labels: expected one for each score of an output, "y" has 4, got 3 labels',
        ),
        ({"contents": Contents(columns={"x": ["a"]})}, BadInput, 'expected 4 names for "x", got 1'),
    ],
)
def test_what_is_refused_leaves_no_file(tmp_path, options, error, says):
    with pytest.raises(error, match=says):
        seal(tmp_path / "p.ewp", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_vast_file_that_is_no_model_is_refused_before_it_is_read(tmp_path, run_child):
    """Nor is one in the place of a trust root read whole."""
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(8 << 30)
    program = """
import resource, sys
from pathlib import Path
import edgeward as ew
from edgeward.packages.sealing import model_members
from edgeward.trust import root_document
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
for read in (
    lambda: model_members(sys.argv[1], False, False),
    lambda: root_document.read_file(Path(sys.argv[1])),
):
    try:
        read()
    except (ew.MalformedModel, ew.MalformedRoot) as error:
        print(type(error).__name__)
"""
    assert run_child(program, tmp_path / "sparse").split() == ["MalformedModel", "MalformedRoot"]


SEAL_DENSE = """
import sys
import numpy as np
from sealed import PUBLISHER
from edgeward import Package, Release
Package.seal(sys.argv[1], sys.argv[2], Release("dense", "1", 1), [PUBLISHER])
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) >> 10)
"""


def test_sealing_needs_no_memory_for_the_weights_of_a_model(run_child, tmp_path):
    peaks_mib = []
    for name, width in (("small", 16), ("large", 5120)):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(tflite_models.dense(width))
        peaks_mib.append(int(run_child(SEAL_DENSE, path, tmp_path / f"{name}.ewp")))
        package = Package.unverified(tmp_path / f"{name}.ewp")
        assert package.schema["<placeholder signature>"]["inputs"][0]["shape"] == [1, width]
    assert path.stat().st_size > 100e6
    assert peaks_mib[1] < peaks_mib[0] + 32
