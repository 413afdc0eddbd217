"""CaptureData as programs call it, and what a reader finds that knows the layout alone."""

from __future__ import annotations

import base64
import os
import re
import signal
import time

import grpc
import numpy as np
import pytest
import sealed

from edgeward.agent.capture_intake import Buffering, CaptureIntake
from edgeward.agent.capture_layout import Layout
from edgeward.agent.capture_request import Captured, Payload
from edgeward.agent.refusal import Refusal

from . import edge_manager_reader
from .clients import Client, refused
from .running import Running, edge_manager_file
from .segments_of_clients import posix, system_v

X = np.arange(4, dtype=np.float32)
DTYPES = {0: "uint8", 1: "int16", 2: "int32", 3: "int64", 4: "float16", 5: "float32", 6: "float64"}
MOMENT_S = 1_620_000_189  # 2021-05-03T00:03:09Z, on which it is the 3rd in Tokyo, the 2nd in Lima
HOUR = "2021/05/03/00"


@pytest.fixture(scope="module")
def agent(device):
    file = edge_manager_file(device)
    arguments = ("-c", file, "-a", device / "agent.sock")
    with Running(device, *arguments, TZ="America/Lima") as running:
        Client(running.socket).LoadModel(url="model/demo/1.0", name="demo")
        yield running


@pytest.fixture
def client(agent):
    client = Client(agent.socket)
    yield client
    client.close()


def awaited(client, capture_id, status=1):
    """Polls as programs do, without a limit of their own: the state must come."""
    end_s = time.monotonic() + 60
    while (got := client.GetCaptureDataStatus(capture_id=capture_id).status) != status:
        assert got == 2, got
        assert time.monotonic() < end_s
        time.sleep(0.01)


def records(device):
    """Every record below the capture directory, by event id: its folder and its document."""
    read = edge_manager_reader.read(device / "captures")
    return {event: (record.folder, record.document) for event, record in read.items()}


def content(device, payload):
    return edge_manager_reader.content(device / "captures", payload)


def stamp(client, seconds=MOMENT_S, nanos=999_999_999):
    return client.messages.Timestamp(seconds=seconds, nanos=nanos)


def test_a_record_is_the_one_that_readers_know(client, device):
    client.CaptureData(
        model_name="demo",
        capture_id="3f0e:a/b",
        inference_timestamp=stamp(client),
        input_tensors=[client.tensor(X.reshape(1, 2, 2, 1), "input")],
        output_tensors=[client.tensor(X[:1], "output")],
    )
    awaited(client, "3f0e:a/b")
    folder, record = records(device)["3f0e:a/b"]
    assert folder == f"sme-capture/shop/demo/{HOUR}"
    shape = re.fullmatch(
        r"Tensor\[(\w+); (\d+), (\d+), (\d+), (\d+)\]",
        record["deviceFleetInputs"][0]["observedContentType"],
    )
    assert shape is not None
    assert shape.groups() == ("float32", "1", "2", "2", "1")
    assert record == {
        "deviceFleetAuxiliaryInputs": [],
        "deviceFleetAuxiliaryOutputs": [],
        "deviceFleetInputs": [
            {
                "data": base64.b64encode(X.tobytes()).decode(),
                "encoding": "BASE64",
                "mode": "Input",
                "name": "input",
                "observedContentType": "Tensor[float32; 1, 2, 2, 1]",
            }
        ],
        "deviceFleetOutputs": [
            {
                "data": "AAAAAA==",
                "encoding": "BASE64",
                "mode": "Output",
                "name": "output",
                "observedContentType": "Tensor[float32; 1]",
            }
        ],
        "eventMetadata": {
            "deviceFleetName": "shop",
            "deviceId": "camera7",
            "eventId": "3f0e:a/b",
            "inferenceTime": "2021-05-03T00:03:09",
            "modelName": "demo",
            "modelVersion": "1.0",
        },
        "eventVersion": "0",
    }


@pytest.mark.parametrize("rank", range(6))
@pytest.mark.parametrize("number", DTYPES)
def test_tensors_of_each_type_and_rank(client, device, number, rank):
    """Embedded on one side and beside the record on the other; by any name, or none."""
    small = np.arange(2**rank).astype(DTYPES[number]).reshape((2,) * rank)
    shape = (4000,) if rank < 2 else (2,) * (rank - 1) + (2000,)
    large = np.arange(np.prod(shape)).astype(DTYPES[number]).reshape(shape)
    capture_id = f"{number}-{rank}"
    client.CaptureData(
        model_handle="demo",
        capture_id=capture_id,
        input_tensors=[client.tensor(large, "", number)],
        output_tensors=[client.tensor(small, "\N{SNOWMAN}", number)],
    )
    awaited(client, capture_id)
    record = edge_manager_reader.read(device / "captures")[capture_id]
    for tensors, array, name in ((record.inputs, large, ""), (record.outputs, small, "\u2603")):
        (tensor,) = tensors
        assert tensor.array.dtype == DTYPES[number]
        assert tensor.array.shape == array.shape
        assert np.array_equal(tensor.array, array)
        assert (tensor.name, tensor.is_beside) == (name, array.nbytes > 3072)
    assert record.inputs[0].is_beside
    assert not record.outputs[0].is_beside


def test_the_folder_is_the_hour_in_utc_wherever_the_device_is(tmp_path):
    sealed.trust_at(tmp_path / "trust")
    sealed.seal(tmp_path / "demo.ewp")
    arguments = ("-c", edge_manager_file(tmp_path), "-a", tmp_path / "agent.sock")
    with Running(tmp_path, *arguments, TZ="Asia/Tokyo") as running:
        client = Client(running.socket)
        client.LoadModel(url="demo.ewp", name="demo")
        before_s = int(time.time())
        client.CaptureData(model_name="demo", capture_id="now")
        client.CaptureData(
            model_name="demo", capture_id="told", inference_timestamp=stamp(client, MOMENT_S - 3600)
        )
        for capture_id in ("now", "told"):
            awaited(client, capture_id)
    read = edge_manager_reader.read(tmp_path / "captures")
    assert read["told"].folder == "sme-capture/shop/demo/2021/05/02/23"
    hours = [
        time.strftime("%Y/%m/%d/%H", time.gmtime(moment_s))
        for moment_s in range(before_s, int(time.time()) + 1)
    ]
    assert read["now"].folder.removeprefix("sme-capture/shop/demo/") in hours


@pytest.mark.parametrize(
    ("size_bytes", "is_inside"), [(3072, True), (3073, False), (70_000, False)]
)
def test_payloads_above_the_limit_are_beside_the_record(client, device, size_bytes, is_inside):
    array = np.arange(size_bytes).astype(np.uint8)
    blob = client.messages.Auxiliary(name="x.jpg", encoding=2, byte_data=array.tobytes())
    capture_id = f"size-{size_bytes}"
    tensor = client.tensor(array, "in", 0)
    client.CaptureData(
        model_name="demo", capture_id=capture_id, input_tensors=[tensor], outputs=[blob]
    )
    awaited(client, capture_id)
    folder, record = records(device)[capture_id]
    for key, kind in (
        ("deviceFleetInputs", "input-tensors"),
        ("deviceFleetAuxiliaryOutputs", "auxiliary-outputs"),
    ):
        (payload,) = record[key]
        assert ("data" in payload) == is_inside
        assert content(device, payload) == array.tobytes()
        assert is_inside or payload["data-ref"].startswith(f"{folder}/raw-data/{kind}/")


@pytest.mark.parametrize(
    ("encoding", "data", "expected"),
    [
        (0, b"1,2", {"data": "1,2", "encoding": "CSV"}),
        (1, b'{"a": 1}', {"data": '{"a": 1}', "encoding": "JSON"}),
        (1, b"\xff", {"data": "/w==", "encoding": "BASE64"}),
        (2, b"jpg", {"data": "anBn", "encoding": "BASE64"}),
        (3, b"jpg", {"data": "anBn", "encoding": "BASE64"}),
        (2, b"", {"data": "", "encoding": "BASE64"}),
    ],
)
def test_blobs_by_their_encoding(client, device, encoding, data, expected):
    blob = client.messages.Auxiliary(name="mask.jpg", encoding=encoding, byte_data=data)
    capture_id = f"blob-{encoding}-{data!r}"
    client.CaptureData(model_name="demo", capture_id=capture_id, inputs=[blob])
    awaited(client, capture_id)
    shown = {"mode": "Input", "name": "mask.jpg", "observedContentType": "mask.jpg"}
    assert records(device)[capture_id][1]["deviceFleetAuxiliaryInputs"] == [{**shown, **expected}]


@pytest.mark.parametrize("segment", [system_v, posix])
def test_segments_are_copied_before_the_answer(client, device, segment):
    capture_id = segment.__name__
    with segment(X.tobytes()) as segment_id:
        handle = client.messages.SharedMemoryHandle(segment_id=segment_id)
        tensor = client.messages.Tensor(
            tensor_metadata=client.metadata("in", [4]), shared_memory_handle=handle
        )
        blob = client.messages.Auxiliary(name="b", encoding=2, shared_memory_handle=handle)
        client.CaptureData(
            model_name="demo", capture_id=capture_id, input_tensors=[tensor], inputs=[blob]
        )
    awaited(client, capture_id)
    record = records(device)[capture_id][1]
    for key in ("deviceFleetInputs", "deviceFleetAuxiliaryInputs"):
        # A segment is a number of whole pages to the kernel, and of its own size to a reader.
        assert content(device, record[key][0]) == X.tobytes()


def test_a_reply_goes_into_a_capture_as_it_is(client, device):
    reply = client.Predict(name="demo", tensors=[client.tensor(X)]).tensors
    client.CaptureData(model_name="demo", capture_id="verbatim", output_tensors=reply)
    awaited(client, "verbatim")
    (payload,) = records(device)["verbatim"][1]["deviceFleetOutputs"]
    assert content(device, payload) == reply[0].byte_data


def test_each_code_by_its_cause(client):
    client.CaptureData(model_name="demo", capture_id="taken")
    cases = [
        ({"capture_id": "taken"}, "ALREADY_EXISTS", "taken"),
        ({"capture_id": ""}, "INVALID_ARGUMENT", "capture_id"),
        ({"capture_id": "x" * 513}, "INVALID_ARGUMENT", "got 513"),
        ({"model_name": "gone"}, "NOT_FOUND", "gone"),
        ({"model_name": "a_b"}, "INVALID_ARGUMENT", "a_b"),
        (
            {"inference_timestamp": stamp(client, int(time.time()) + 3600)},
            "OUT_OF_RANGE",
            "inference_timestamp",
        ),
        ({"inference_timestamp": stamp(client, nanos=-1)}, "INVALID_ARGUMENT", "nanos"),
        ({"inference_timestamp": stamp(client, -(1 << 60))}, "INVALID_ARGUMENT", "seconds"),
        (
            {"input_tensors": [client.messages.Tensor(byte_data=b"1234")]},
            "INVALID_ARGUMENT",
            'input tensor 0 ""',
        ),
        (
            {"output_tensors": [client.tensor(X, "y", 77)]},
            "INVALID_ARGUMENT",
            'output tensor 0 "y"',
        ),
        ({"output_tensors": [client.tensor(X, "y", 6)]}, "INVALID_ARGUMENT", "32 bytes"),
        (
            {"inputs": [client.messages.Auxiliary(name="z", encoding=9)]},
            "INVALID_ARGUMENT",
            'auxiliary input 0 "z"',
        ),
    ]
    for number, (fields, code, expected) in enumerate(cases):
        fields = {"model_name": "demo", "capture_id": f"case-{number}", **fields}
        got, text = refused(client.CaptureData, **fields)
        assert (got, expected in text) == (code, True), text
        if fields["capture_id"] == f"case-{number}":
            got, _ = refused(client.GetCaptureDataStatus, capture_id=fields["capture_id"])
            assert got == "NOT_FOUND"


def test_instants_before_1970_have_their_day(client, device):
    for name, seconds, hour in (
        ("old", -1, "1969/12/31/23"),
        ("first", -62_135_596_800, "0001/01/01/00"),
    ):
        client.CaptureData(
            model_name="demo", capture_id=name, inference_timestamp=stamp(client, seconds)
        )
        awaited(client, name)
        assert records(device)[name][0].endswith(hour)


@pytest.fixture
def small(tmp_path):
    """A device of its own, whose buffer takes three captures and waits for more than there are."""
    sealed.trust_at(tmp_path / "trust")
    sealed.seal(tmp_path / "demo.ewp")
    file = edge_manager_file(
        tmp_path,
        capture_data_buffer_size=3,
        capture_data_batch_size=3,
        capture_data_push_period_seconds=3600,
    )
    with Running(tmp_path, "-c", file, "-a", tmp_path / "agent.sock") as running:
        Client(running.socket).LoadModel(url="demo.ewp", name="demo")
        yield running


def test_a_batch_is_one_file(small):
    client = Client(small.socket)
    for number in range(2):
        client.CaptureData(model_name="demo", capture_id=f"{number}")
    assert client.GetCaptureDataStatus(capture_id="0").status == 2
    assert records(small.directory) == {}
    client.CaptureData(model_name="demo", capture_id="2")
    for number in range(3):
        awaited(client, f"{number}")
    assert len(list((small.directory / "captures").rglob("*.jsonl"))) == 1


def test_what_is_buffered_is_written_at_the_end(small):
    client = Client(small.socket)
    client.CaptureData(model_name="demo", capture_id="last")
    small.stop(signal.SIGTERM)
    assert list(records(small.directory)) == ["last"]
    small.start()
    assert Client(small.socket).GetCaptureDataStatus(capture_id="last").status == 1
    code, _ = refused(Client(small.socket).CaptureData, model_name="demo", capture_id="last")
    assert code == "ALREADY_EXISTS"


def test_a_disk_that_refuses_delays_captures_and_loses_none(small):
    captures = small.directory / "captures"
    captures.write_text("in the way")
    client = Client(small.socket)
    for number in range(3):
        client.CaptureData(model_name="demo", capture_id=f"{number}")
    code, text = refused(client.CaptureData, model_name="demo", capture_id="3")
    assert code == "RESOURCE_EXHAUSTED"
    assert "expected at most 3" in text
    assert client.GetCaptureDataStatus(capture_id="0").status == 2
    client.Predict(name="demo", tensors=[client.tensor(X)])
    captures.unlink()
    small.stop()  # tries once more
    assert sorted(records(small.directory)) == ["0", "1", "2"]


def test_killed_at_any_time_no_capture_is_lost_or_doubled(device, tmp_path):
    """Whoever got SUCCESS finds the record, and whoever did not sends it again and finds one."""
    sealed.trust_at(tmp_path / "trust")
    sealed.seal(tmp_path / "demo.ewp")
    file = edge_manager_file(tmp_path, capture_data_base64_embed_limit=0)
    rounds = 3
    with Running(tmp_path, "-c", file, "-a", tmp_path / "agent.sock") as running:
        Client(running.socket).LoadModel(url="demo.ewp", name="demo")
        sent = set()
        for number in range(rounds):
            client = Client(running.socket)
            for capture_id in sorted({*sent, *(f"{number}-{index}" for index in range(6))}):
                if capture_id in sent and known(client, capture_id):
                    continue
                sent.add(capture_id)
                client.CaptureData(
                    model_name="demo", capture_id=capture_id, input_tensors=[client.tensor(X)]
                )
            running.stop(signal.SIGKILL)
            running.start()
        client = Client(running.socket)
        for capture_id in sorted(sent):
            if not known(client, capture_id):
                client.CaptureData(
                    model_name="demo", capture_id=capture_id, input_tensors=[client.tensor(X)]
                )
            awaited(client, capture_id)
        kept = records(tmp_path)
        assert kept.keys() == sent
        raw = {
            payload["data-ref"]
            for _, record in kept.values()
            for payload in record["deviceFleetInputs"]
        }
        files = {
            path.relative_to(tmp_path / "captures").as_posix()
            for path in (tmp_path / "captures").rglob("raw-data/*/*")
        }
        assert files == raw
        assert os.listdir(tmp_path / "state" / "inner") == ["server"]


def known(client, capture_id):
    import grpc

    try:
        return client.GetCaptureDataStatus(capture_id=capture_id).status == 1
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.NOT_FOUND:
            return False
        raise


def test_copies_of_all_calls_have_one_limit_and_empty_payloads_count(tmp_path):
    layout = Layout(str(tmp_path / "captures"), "", "shop", "camera7", 0)
    intake = CaptureIntake(layout, Buffering(10, 10_000, 1, 1.0), str(tmp_path))
    try:
        with intake.copying() as first, intake.copying() as second:
            first(6000)
            with pytest.raises(Refusal, match="got 6000 before these 6000") as refusal:
                second(6000)
            assert refusal.value.status == grpc.StatusCode.RESOURCE_EXHAUSTED
            second(4000)
        with intake.copying() as claim:
            claim(10_000)
        empty = Payload("auxiliary-inputs", "", "", "NONE", b"")
        with pytest.raises(Refusal, match="in memory"):
            intake.accept(Captured("a", "demo", "1", 0, (empty,) * 100))
    finally:
        intake.close()
