"""docs/capture-format.md is true: a reader written from it alone reads what the product writes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import sealed
from models import onnx_models, tflite_models
from reference import capture_reader

import edgeward as ew
from edgeward import _core
from edgeward.captures import rings

SECRET = bytes.fromhex(sealed.key_text("device", "x25519").split()[2])


def ran(model, capture, count=5):
    """What the model saw and gave, in `count` calls; the third with the caller's bytes."""
    generator = np.random.default_rng(1)
    seen = []
    for index in range(count):
        if index == 2:
            capture.capture_next(b"third", 3)
        inputs = {
            spec.name: generator.integers(0, 100, [max(1, size) for size in spec.shape]).astype(
                spec.dtype
            )
            for spec in model.inputs
        }
        result = model.predict(dict(inputs))
        outputs = result if isinstance(result, dict) else {model.outputs[0].name: result}
        seen.append((inputs, {name: array.copy() for name, array in outputs.items()}))
    return seen


def require_same(records, seen, described):
    assert [record.sequence for record in records] == list(range(1, len(seen) + 1))
    for record, (inputs, outputs) in zip(records, seen, strict=True):
        assert len(record.tensors) == len(inputs) + len(outputs)
        for tensor in record.tensors:
            side = "outputs" if tensor.side else "inputs"
            name = described[side][tensor.index]["name"]
            array = (outputs if tensor.side else inputs)[name]
            assert tensor.data == array.tobytes()
            assert (tensor.dtype, tensor.shape) == (str(array.dtype), array.shape)
    assert records[2].user == b"third"
    assert (records[2].correlation_id, records[2].reasons) == (3, {"sampled", "manual"})
    assert all(record.user == b"" for index, record in enumerate(records) if index != 2)


MODELS = {
    "sum_product": tflite_models.sum_product,
    "quantized": tflite_models.quantized_add,
    "conv": onnx_models.conv,
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("is_encrypted", [False, True])
def test_a_segment(name, is_encrypted, tmp_path):
    recipient = sealed.DEVICE.public if is_encrypted else None
    with ew.Capture(tmp_path / "captures", encrypt_to=recipient) as capture:
        model = ew.load_unsigned(MODELS[name](), capture=capture)
        seen = ran(model, capture)
        model.close()
    (path,) = (tmp_path / "captures").glob("*.ewc")
    segment = capture_reader.segment(path.read_bytes(), SECRET if is_encrypted else None)
    assert segment.is_complete
    assert not segment.is_recovered
    ((ring_id, described),) = segment.descriptions.items()
    assert described["signature"] == next(iter(model_signatures(MODELS[name]())))
    assert all(ring == ring_id for ring, _ in segment.records)
    require_same([record for _, record in segment.records], seen, described)
    sampled_out, committed, full, large, overwritten, last, broken = segment.counters[ring_id]
    assert (sampled_out, committed, full, large, overwritten, last, broken) == (0, 5, 0, 0, 0, 5, 0)
    assert segment.counters[0][0] == 5


def model_signatures(model):
    with ew.load_unsigned(model) as opened:
        return dict(opened.signatures)


@pytest.mark.parametrize("keep", ["oldest", "newest"])
def test_a_ring(keep, tmp_path):
    directory = tmp_path / "captures"
    import fcntl

    rings.make_directory(rings.directory_of(directory))
    with open(Path(rings.directory_of(directory)) / "drain.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # nobody empties it
        capture = ew.Capture(directory, keep=keep, ring_bytes=1 << 16)
        model = ew.load_unsigned(tflite_models.sum_product(), capture=capture)
        seen = ran(model, capture)
        (path,) = Path(rings.directory_of(directory)).glob("*.ring")
        ring = capture_reader.ring(path.read_bytes())
        require_same(ring.records, seen, ring.description)
        assert bytes.fromhex(path.stem) == ring.ring_id.to_bytes(8, "little")
        assert (ring.keeps_newest, ring.process_id) == (keep == "newest", os.getpid())
        assert not ring.is_closed
        assert ring.counters == (0, 5, 0, 0, 0)
        # Past its end, round and round.
        ran(model, capture, 1000)
        ring = capture_reader.ring(path.read_bytes())
        sampled_out, committed, full, large, overwritten = ring.counters
        assert (sampled_out, large) == (0, 0)
        assert committed + full == 1005
        assert (full == 0) == (overwritten > 0) == (keep == "newest")
        assert len(ring.records) == committed - overwritten
        capture.close()


FIELDS = (
    "kind", "name", "finite_count", "nan_count", "infinite_count", "min", "max", "mean",
    "clipped_count", "unchanged_count", "pair_count", "step_squares", "is_adaptive",
)  # fmt: skip


@pytest.mark.parametrize("edges", [{}, {("input", "b"): [[-1.0, 0.0, 0.5]] * 8}])
def test_statistics(edges):
    model = ew.load_unsigned(tflite_models.sum_product())
    (signature,) = model.signatures.values()
    counter = _core.make_statistics_counter(signature, edges)
    for index, (a, b) in enumerate(np.random.default_rng(1).normal(size=(50, 2, 4))):
        inputs = {"a": a.astype(np.float32), "b": (100 + b if index % 7 else b).astype(np.float32)}
        counter.add(inputs, model.predict(inputs), 1000 * index)
    statistics = counter.take()
    report = statistics.report()
    counted = capture_reader.statistics(statistics.to_bytes("{}"))
    assert counted["description"] == "{}"
    assert counted["run_count"] == report["run_count"] == 50
    assert counted["latency_counts"] == report["latency_counts"].tolist()
    assert len(counted["tensors"]) == 4
    for tensor, row in zip(counted["tensors"], report["tensors"], strict=True):
        assert [tensor[field] for field in ("side", "name", "dtype")] == [
            row[field] for field in ("side", "name", "dtype")
        ]
        assert tensor["class_counts"] == row["class_counts"].tolist()
        assert len(tensor["parts"]) >= 8
        for part, ours in zip(tensor["parts"], row["parts"], strict=True):
            assert [part[field] for field in FIELDS] == [ours[field] for field in FIELDS]
            assert part["edges"] == ours["edges"].tolist()
            assert part["counts"] == ours["counts"].tolist()
            assert part["squares"] / part["finite_count"] == ours["variance"]


def test_a_window(tmp_path):
    names = ["one", "two", "three", "four"]
    with ew.Capture(tmp_path / "captures", window_s=1e6) as capture:
        model = ew.load_unsigned(tflite_models.sum_product())
        capture.attach(model, name="m", version="1", package_id="ab", columns={"a": names})
        ran(model, capture, 50)
    (path,) = (tmp_path / "captures").glob("*.stats")
    saved = capture_reader.statistics_file(path.read_bytes())
    (window,) = ew.read_windows(tmp_path / "captures")
    assert saved.pop("statistics")["run_count"] == window.counted.statistics.run_count == 50
    assert saved == {
        "name": "m",
        "version": "1",
        "package_id": "ab",
        "signature": "serving_default",
        "columns": {"a": names},
        "id": window.id,
        "boot_id": window.boot_id.hex(),
        "begin_ns": window.begin_ns,
        "end_ns": window.begin_ns + 10**15,
        "wall_ns": window.wall_ns,
    }


def test_sealed_statistics(tmp_path):
    with ew.Capture(tmp_path / "captures", encrypt_to=sealed.DEVICE.public) as capture:
        model = ew.load_unsigned(tflite_models.sum_product())
        capture.attach(model, name="m", version="1")
        ran(model, capture, 50)
    (path,) = (tmp_path / "captures").glob("*.stats.sealed")
    content = path.read_bytes()
    saved = capture_reader.statistics_file(content, SECRET)
    assert (saved["name"], saved["version"], saved["signature"]) == ("m", "1", "serving_default")
    assert saved["statistics"]["run_count"] == 50
    other = bytes.fromhex(sealed.key_text("other", "x25519").split()[2])
    for data, key in ((content, other), (content[:-1], SECRET), (content + b"x", SECRET)):
        with pytest.raises(capture_reader.Refused):
            capture_reader.statistics_file(data, key)


@pytest.fixture
def small(tmp_path):
    """A sealed segment of three records, as bytes."""
    with ew.Capture(tmp_path / "captures") as capture:
        model = ew.load_unsigned(tflite_models.add((4,)), capture=capture)
        for value in range(3):
            model.predict(np.full(4, value, np.float32))
    (path,) = (tmp_path / "captures").glob("*.ewc")
    return path.read_bytes()


def frames(path):
    """The frames that the product reads, without views of their memory; None when refused."""
    try:
        segment = _core.open_segment(str(path), None)
    except ew.MalformedCapture:
        return None, False
    read = []
    for frame, row in enumerate(segment.rows):
        is_block = row["type"] == _core.BLOCK_FRAME
        if is_block and segment.load(frame):
            for index in range(segment.count):
                fields = fields_of(segment.record(index))
                fields["tensors"] = [
                    fields_of(tensor) | {"array": tensor.array.tobytes()}
                    for tensor in fields["tensors"]
                ]
                read.append(("record", fields))
        elif not is_block and (payload := segment.payload(frame)) is not None:
            read.append((int(row["type"]), int(row["ring_id"]), payload))
    is_whole = len(read) == segment.record_count + sum(segment.rows["type"] != _core.BLOCK_FRAME)
    return read, segment.state == "sealed" and is_whole


def fields_of(struct):
    names = [name for name, member in vars(type(struct)).items() if isinstance(member, property)]
    assert len(names) >= 4
    return {name: getattr(struct, name) for name in names}


def test_a_segment_that_is_cut_anywhere_gives_its_whole_frames(small, tmp_path):
    path = tmp_path / "cut.ewc"
    path.write_bytes(small)
    whole, is_complete = frames(path)
    assert is_complete
    for size in range(0, len(small), 7):
        path.write_bytes(small[:size])
        read, is_complete = frames(path)
        assert not is_complete
        if size < 192:
            assert read is None
        else:
            assert read == whole[: len(read)]
            records = len(capture_reader.segment(small[:size]).records)
            assert records == sum(frame[0] == "record" for frame in read)


def test_no_flipped_bit_of_a_segment_is_taken(small, tmp_path):
    path = tmp_path / "flipped.ewc"
    path.write_bytes(small)
    whole, _ = frames(path)
    for bit in range(0, 8 * len(small), 11):
        damaged = bytearray(small)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        read, is_complete = frames(path)
        assert not is_complete
        # What an index lists is found behind what is damaged.
        assert read is None or (len(read) <= len(whole) and all(frame in whole for frame in read))
