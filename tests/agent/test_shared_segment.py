"""Tensors in segments of shared memory: which are read, and which are refused, by every rule."""

from __future__ import annotations

import os

import numpy as np
import pytest

from .clients import array_of, refused
from .segments_of_clients import KINDS, shmctl_mode, system_v
from .test_edge_service import sealed_result

X = np.arange(4, dtype=np.float32)


@pytest.fixture(params=KINDS)
def segment(request):
    return KINDS[request.param]


def handle_tensor(client, segment_id, size=0, offset=0):
    handle = client.messages.SharedMemoryHandle(size=size, offset=offset, segment_id=segment_id)
    return client.messages.Tensor(
        tensor_metadata=client.metadata("x", [4]), shared_memory_handle=handle
    )


@pytest.mark.parametrize("mode", [0o400, 0o404, 0o440, 0o444], ids=oct)
def test_a_segment_that_nobody_may_write_is_read(client, segment, mode):
    with segment(X.tobytes(), mode) as segment_id:
        reply = client.Predict(name="demo", tensors=[handle_tensor(client, segment_id)])
    assert np.array_equal(array_of(reply.tensors[0]), sealed_result(X))


@pytest.mark.parametrize(
    "mode", [0o600, 0o606, 0o460, 0o420, 0o402, 0o500, 0o410, 0o401, 0o777], ids=oct
)
def test_a_segment_that_anybody_may_write_or_execute_is_refused(latest, segment, mode):
    with segment(X.tobytes(), mode) as segment_id:
        tensors = [handle_tensor(latest, segment_id)]
        code, text = refused(latest.Predict, name="steady", tensors=tensors)
    assert code == "INVALID_ARGUMENT"
    assert f"segment {segment_id}: expected one that nobody may write or execute" in text
    assert f"got mode {mode:04o}" in text


def test_the_writer_writes_the_next_frame_between_two_calls(latest):
    with system_v(X.tobytes()) as shmid:
        for _ in range(2):
            shmctl_mode(shmid, 0o600)
            shmctl_mode(shmid, 0o400)
            latest.Predict(name="steady", tensors=[handle_tensor(latest, shmid)])


def test_a_part_of_a_larger_segment(latest, segment):
    content = np.concatenate([np.full(3, 9), X, np.full(3, 9)]).astype(np.float32).tobytes()
    with segment(content) as segment_id:
        for size in (0, 16):
            tensors = [handle_tensor(latest, segment_id, size, 12)]
            reply = latest.Predict(name="steady", tensors=tensors)
            assert np.array_equal(array_of(reply.tensors[0]), sealed_result(X))


@pytest.mark.parametrize(
    ("size", "offset"),
    [
        (0, 1), (16, 1), (0, 1 << 63), (0, (1 << 64) - 16), (0, (1 << 64) - 1), (16, (1 << 64) - 8),
        (15, 0), (17, 0), (1, 0), ((1 << 64) - 1, 0), ((1 << 64) - 1, 1), (1 << 32, 0),
    ],
)  # fmt: skip
def test_a_range_that_is_not_the_tensor_in_the_segment(latest, segment, size, offset):
    with segment(X.tobytes()) as segment_id:
        tensors = [handle_tensor(latest, segment_id, size, offset)]
        code, text = refused(latest.Predict, name="steady", tensors=tensors)
    assert code == "INVALID_ARGUMENT"
    assert f"segment {segment_id}: expected" in text


@pytest.mark.parametrize(
    "segment_id", [1 << 31, (1 << 32) - 1, 1 << 32, 1 << 40, (1 << 63), (1 << 64) - 1]
)
def test_an_id_that_no_segment_has(latest, segment_id):
    tensors = [handle_tensor(latest, segment_id)]
    assert refused(latest.Predict, name="steady", tensors=tensors)[0] == "INVALID_ARGUMENT"


def test_an_id_is_not_cut_to_32_bits(latest):
    with system_v(X.tobytes()) as shmid:
        tensors = [handle_tensor(latest, shmid + (1 << 32))]
        assert refused(latest.Predict, name="steady", tensors=tensors)[0] == "INVALID_ARGUMENT"


def test_a_segment_that_was_removed(latest, segment):
    with segment(X.tobytes()) as segment_id:
        pass
    tensors = [handle_tensor(latest, segment_id)]
    assert refused(latest.Predict, name="steady", tensors=tensors)[0] == "INVALID_ARGUMENT"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a segment to another user")
def test_a_segment_of_another_user(latest, segment):
    with segment(X.tobytes(), 0o444, 12_345) as segment_id:
        tensors = [handle_tensor(latest, segment_id)]
        code, text = refused(latest.Predict, name="steady", tensors=tensors)
    assert code == "INVALID_ARGUMENT"
    assert f"expected one of user {os.geteuid()}, got one of user 12345" in text


def test_a_posix_segment_is_no_link(latest, tmp_path):
    target = tmp_path / "target"
    target.write_bytes(X.tobytes())
    target.chmod(0o400)
    segment_id = 1 << 50
    link = f"/dev/shm/edgeward.{segment_id}"
    os.symlink(target, link)
    try:
        tensors = [handle_tensor(latest, segment_id)]
        assert refused(latest.Predict, name="steady", tensors=tensors)[0] == "INVALID_ARGUMENT"
    finally:
        os.unlink(link)
