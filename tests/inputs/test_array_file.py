"""Array files: what is in them, and no more memory than it takes."""

import io
import struct
import zipfile

import numpy as np
import pytest

from edgeward.errors import BadInput
from edgeward.inputs.array_file import read_npy, read_npz

# Prints the refusal of each file, and by how many MiB the process grew at most.
MEASURED = """
import sys
from pathlib import Path
from edgeward.errors import BadInput
from edgeward.inputs.array_file import read_npy, read_npz

def peak_mib():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status["VmHWM"].split()[0]) >> 10

before = peak_mib()
for name in sys.argv[1:]:
    try:
        (read_npz if name.endswith(".npz") else read_npy)(Path(name))
    except BadInput as error:
        print(error)
print(peak_mib() - before)
"""


def header(shape, descr="<f4", version=b"\1\0"):
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    size = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + version + size + text


def test_what_numpy_writes_is_read(tmp_path):
    arrays = {
        "a": np.arange(6, dtype=np.int8).reshape(2, 3),
        "transposed": np.asfortranarray(np.ones((3, 2), np.float64)),
        "scalar": np.array(2.5, np.float32),
        "empty": np.empty((0, 4), np.float32),
        "text": np.array(["ab", "c"]),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "all.npz", **arrays)
        got = read_npz(tmp_path / "all.npz")
        assert list(got) == list(arrays)
        for name, array in arrays.items():
            np.save(tmp_path / "one.npy", array)
            for read in (got[name], read_npy(tmp_path / "one.npy")):
                assert (read.dtype, read.shape) == (array.dtype, array.shape)
                assert np.array_equal(read, array)


def test_the_second_version_of_a_header_is_read(tmp_path):
    (tmp_path / "a.npy").write_bytes(header((2,), version=b"\2\0") + bytes(8))
    assert read_npy(tmp_path / "a.npy").tolist() == [0, 0]


@pytest.mark.parametrize(
    "content",
    [
        header((1 << 40,)) + bytes(8),
        header((1 << 70,)) + bytes(8),
        header((1 << 20, 1 << 20)),
        header((3,)) + bytes(8),
        header((3,), "|O") + bytes(24),
        header((2,), version=b"\3\0") + bytes(8),
    ],
    ids=["2^40", "2^70", "2^20 squared", "one too many", "objects", "version 3"],
)
def test_a_header_that_claims_what_is_not_there_is_refused(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", content)
    for read, name in ((read_npy, "a.npy"), (read_npz, "a.npz")):
        with pytest.raises(BadInput, match=rf"{name}: expected an? .*file, got bytes that are not"):
            read(tmp_path / name)


def test_files_that_claim_more_than_they_hold_take_no_memory(tmp_path, run_child):
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w") as member,
    ):
        member.write(header((1 << 29,), "|u1"))
        for _ in range(1 << 9):
            member.write(bytes(1 << 20))
    assert (tmp_path / "bomb.npz").stat().st_size < 1 << 20
    (tmp_path / "claim.npy").write_bytes(header((1 << 33,), "|u1") + bytes(100))
    with open(tmp_path / "sparse.npy", "wb") as file:
        file.truncate(8 << 30)
    with open(tmp_path / "sparse.npz", "wb") as file:
        file.truncate(8 << 30)
    names = ["bomb.npz", "claim.npy", "sparse.npy", "sparse.npz"]
    *lines, grown_mib = run_child(MEASURED, *(tmp_path / name for name in names)).splitlines()
    assert len(lines) == len(names)
    assert "got 536,870,9" in lines[0]
    assert "numpy.savez" in lines[0]
    assert int(grown_mib) < 64


def test_a_compressed_archive_may_be_eight_times_as_large(tmp_path, monkeypatch):
    monkeypatch.setattr("edgeward.inputs.array_file.MOST_INFLATED_BYTES", 1000)
    noise = np.random.default_rng(5).integers(0, 256, 2000, np.uint8)
    for zeros, is_read in ((10_000, True), (20_000, False)):
        array = np.concatenate([noise, np.zeros(zeros, np.uint8)])
        np.savez_compressed(tmp_path / "a.npz", array)
        np.savez(tmp_path / "stored.npz", array)
        assert np.array_equal(read_npz(tmp_path / "stored.npz")["arr_0"], array)
        if is_read:
            assert np.array_equal(read_npz(tmp_path / "a.npz")["arr_0"], array)
        else:
            with pytest.raises(
                BadInput, match=r"expected at most [\d,]+ bytes of arrays in a comp"
            ):
                read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_an_archive_cut_anywhere_is_refused(tmp_path, name):
    content = io.BytesIO()
    (np.save if name == "a.npy" else np.savez)(content, np.arange(3, dtype=np.int8))
    whole = content.getvalue()
    for size in range(len(whole)):
        (tmp_path / name).write_bytes(whole[:size])
        with pytest.raises(BadInput, match=name):
            (read_npy if name == "a.npy" else read_npz)(tmp_path / name)
