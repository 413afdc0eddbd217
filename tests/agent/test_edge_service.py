"""Programs of each revision of the Edge Manager agent find their calls, and the codes by cause."""

from __future__ import annotations

import shutil
from concurrent import futures

import grpc
import numpy as np
import pytest
import sealed

from .clients import Client, array_of, refused

X = np.arange(4, dtype=np.float32)


def test_a_model_is_listed_and_described_as_each_revision_knows_it(client):
    assert "demo" in [model.name for model in client.ListModels().models]
    for model in (listed(client), client.DescribeModel(name="demo").model):
        assert (model.url, model.name) == ("model/demo/1.0", "demo")
        described = [*model.input_tensor_metadatas, *model.output_tensor_metadatas]
        assert [list(metadata.shape) for metadata in described] == [[4], [4]]
        assert [metadata.data_type for metadata in described] == [5, 5]
        assert all(metadata.name for metadata in described)
        if client.messages.revision == "C":
            assert model.handle == "demo"


def test_a_prediction_with_metadata_copied_from_the_list(client):
    described = listed(client).input_tensor_metadatas[0]
    tensor = client.messages.Tensor(tensor_metadata=described, byte_data=X.tobytes())
    output = client.Predict(name="demo", tensors=[tensor]).tensors[0]
    assert np.array_equal(array_of(output), sealed_result(X))


def listed(client):
    return next(model for model in client.ListModels().models if model.name == "demo")


def sealed_result(x):
    """What the package's model computes."""
    import edgeward

    with edgeward.load_unsigned(sealed.MODEL) as model:
        return model.predict(x)


@pytest.mark.parametrize("name", ["data", "", "\N{SNOWMAN}"])
def test_one_tensor_may_have_any_name(client, name):
    output = client.Predict(name="demo", tensors=[client.tensor(X, name)]).tensors[0]
    assert np.array_equal(array_of(output), sealed_result(X))


def test_a_tensor_without_metadata_is_taken_by_its_bytes(client):
    tensor = client.messages.Tensor(byte_data=X.tobytes())
    output = client.Predict(name="demo", tensors=[tensor]).tensors[0]
    assert np.array_equal(array_of(output), sealed_result(X))


def test_a_handle_is_the_same_as_a_name(agent):
    client = Client(agent.socket, "C")
    client.LoadModel(url="model/demo/1.0/compiled.ewp", handle="by-handle")
    tensors = [client.tensor(X)]
    by_handle = client.Predict(handle="by-handle", tensors=tensors)
    assert by_handle == client.Predict(name="by-handle", tensors=tensors)
    code, text = refused(client.Predict, handle="by-handle", name="demo", tensors=tensors)
    assert code == "INVALID_ARGUMENT"
    assert '"demo" and "by-handle"' in text
    client.UnLoadModel(handle="by-handle")
    assert refused(client.DescribeModel, handle="by-handle")[0] == "NOT_FOUND"


def test_after_unload_there_is_none(client):
    client.UnLoadModel(name="demo")
    assert "demo" not in [model.name for model in client.ListModels().models]
    assert refused(client.UnLoadModel, name="demo")[0] == "NOT_FOUND"
    assert refused(client.DescribeModel, name="demo")[0] == "NOT_FOUND"
    assert refused(client.Predict, name="demo", tensors=[client.tensor(X)])[0] == "NOT_FOUND"


def bad_tensor(client, kind):
    tensor = client.tensor(X)
    if kind == "dtype":
        return client.tensor(X.view(np.int32), data_type=2), "expected float32, got int32"
    if kind == "unknown dtype":
        return client.tensor(X, data_type=77), "expected float32, got data type 77"
    if kind == "shape":
        tensor.tensor_metadata.shape[:] = [2, 2]
        return tensor, "expected shape [4], got [2, 2]"
    if kind == "negative shape":
        tensor.tensor_metadata.shape[:] = [-1]
        return tensor, "expected shape [4], got [-1]"
    if kind == "huge shape":
        tensor.tensor_metadata.shape[:] = [2**31 - 1] * 8
        return tensor, "expected shape [4]"
    if kind == "no bytes":
        return client.messages.Tensor(tensor_metadata=tensor.tensor_metadata), "expected 16 bytes"
    tensor.byte_data = tensor.byte_data[:-1]
    return tensor, "expected 16 bytes for float32 [4], got 15"


@pytest.mark.parametrize(
    "kind",
    ["dtype", "unknown dtype", "shape", "negative shape", "huge shape", "no bytes", "few bytes"],
)
def test_a_wrong_tensor_is_told_with_its_name(client, kind):
    tensor, expected = bad_tensor(client, kind)
    code, text = refused(client.Predict, name="demo", tensors=[tensor])
    assert code == "INVALID_ARGUMENT"
    name = listed(client).input_tensor_metadatas[0].name
    assert text.startswith(f'tensor "{name if isinstance(name, str) else name.decode()}"')
    assert expected in text


@pytest.mark.parametrize("count", [0, 2])
def test_a_wrong_count_of_tensors(latest, count):
    code, text = refused(latest.Predict, name="steady", tensors=[latest.tensor(X)] * count)
    assert code == "INVALID_ARGUMENT"
    assert f"got {count}" in text


@pytest.mark.parametrize("alias", ["", "-a", "a-", "a_b", "a b", "é", "a" * 64, "a\0"])
def test_an_alias_against_the_rule(latest, alias):
    for call, fields in (
        (latest.LoadModel, {"url": "model/demo/1.0"}),
        (latest.UnLoadModel, {}),
        (latest.DescribeModel, {}),
        (latest.Predict, {}),
    ):
        assert refused(call, name=alias, **fields)[0] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("alias", ["a", "9", "a--b", "Name-1-0", "a" * 63])
def test_an_alias_by_the_rule(latest, alias):
    latest.LoadModel(url="model/demo/1.0", name=alias)
    latest.UnLoadModel(name=alias)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def case_of(device, kind):
    """A url that cannot be loaded, the code, and what its text names."""
    folder = device / f"case-{kind.replace(' ', '-')}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    package = device / "model" / "demo" / "1.0" / "compiled.ewp"
    if kind == "no such url":
        return folder / "gone", "NOT_FOUND", "gone"
    if kind == "empty folder":
        return folder, "NOT_FOUND", "expected one .ewp file, got none"
    if kind == "two packages":
        for name in ("a.ewp", "b.ewp"):
            shutil.copy(package, folder / name)
        return folder, "FAILED_PRECONDITION", "got a.ewp, b.ewp"
    if kind == "flipped bit":
        for suffix in ("ewp", "ewk"):
            shutil.copy(package.with_suffix("." + suffix), folder / f"a.{suffix}")
        flip(folder / "a.ewp")
        return folder, "FAILED_PRECONDITION", "a.ewp"
    if kind == "unknown publisher":
        sealed.seal(folder / "a.ewp", keys=[sealed.key("stranger")])
        return folder, "FAILED_PRECONDITION", "a.ewp"
    if kind == "no key":
        sealed.seal(folder / "a.ewp", encrypt_to=[sealed.key("other", "x25519").public])
        return folder, "FAILED_PRECONDITION", "a.ewk"
    if kind == "wrong target":
        sealed.seal(folder / "a.ewp", target="linux-vax")
        return folder, "FAILED_PRECONDITION", "linux-vax"
    (folder / "a.tflite").write_bytes(sealed.MODEL)
    return folder / "a.tflite", "FAILED_PRECONDITION", "expected a signed package"


@pytest.mark.parametrize(
    "kind",
    [
        "no such url", "empty folder", "two packages", "flipped bit", "unknown publisher", "no key",
        "wrong target", "bare model",
    ],
)  # fmt: skip
def test_what_cannot_be_loaded_is_told_with_file_and_check(agent, kind):
    client = Client(agent.socket)
    url, code, expected = case_of(agent.directory, kind)
    got, text = refused(client.LoadModel, url=str(url), name="bad")
    assert (got, expected in text) == (code, True), text
    assert refused(client.DescribeModel, name="bad")[0] == "NOT_FOUND"


def test_no_error_of_load_has_the_digit_6(latest):
    for url in ("model/demo/1.0", "model/666", "/tmp/6.ewp"):
        _, text = refused(latest.LoadModel, url=url, name="steady")
        assert "6" not in text
    assert "6" not in refused(latest.LoadModel, url="model/666", name="a" * 66)[1]
    _, text = refused(latest.LoadModel, url="model/666", name="other")
    assert "\N{FULLWIDTH DIGIT SIX}" * 3 in text


def test_a_second_load_of_an_alias_already_exists(client):
    code, text = refused(client.LoadModel, url="model/demo/1.0", name="demo")
    assert code == "ALREADY_EXISTS"
    assert "demo" in text


def test_of_many_loads_at_once_one_wins(agent):
    client = Client(agent.socket)
    with futures.ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(client.LoadModel, url="model/demo/1.0", name="race") for _ in range(8)]
        errors = [call.exception() for call in calls]
    codes = [error.code().name for error in errors if error is not None]
    assert codes == ["ALREADY_EXISTS"] * 7
    client.UnLoadModel(name="race")


def test_a_message_over_the_limit(latest):
    tensor = latest.tensor(np.zeros(1 << 20, np.float32))
    code, _ = refused(latest.Predict, name="steady", tensors=[tensor, tensor])
    assert code == "RESOURCE_EXHAUSTED"
    assert latest.ListModels().models


def test_bytes_that_are_no_message(agent):
    with grpc.insecure_channel(f"unix:{agent.socket}") as channel:
        call = channel.unary_unary("/AWS.SageMaker.Edge.Agent/Predict")
        code, text = refused(lambda: call(b"\xff\xff", timeout=60))
        assert code == "INVALID_ARGUMENT"
        assert "PredictRequest" in text
        missing = channel.unary_unary("/AWS.SageMaker.Edge.Agent/Nothing")
        assert refused(lambda: missing(b"", timeout=60))[0] == "UNIMPLEMENTED"


@pytest.mark.parametrize("count", [2000, 1 << 20])
def test_a_status_has_room_for_any_name(latest, count):
    code, text = refused(latest.DescribeModel, name="a" * 60, handle="b" * count)
    assert code == "INVALID_ARGUMENT"
    assert text.startswith("name and handle: expected one alias")
    assert len(text) < 1100


def test_predictions_of_many_clients_at_once(agent):
    clients = [Client(agent.socket) for _ in range(8)]
    if "many" not in [model.name for model in clients[0].ListModels().models]:
        clients[0].LoadModel(url="model/demo/1.0", name="many")

    def ask(number):
        x = np.full(4, number, np.float32)
        client = clients[number % 8]
        outputs = [client.Predict(name="many", tensors=[client.tensor(x)]) for _ in range(20)]
        return all(
            np.array_equal(array_of(output.tensors[0]), expected[number]) for output in outputs
        )

    expected = {number: sealed_result(np.full(4, number, np.float32)) for number in range(16)}
    with futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(16)))
    for client in clients:
        client.close()
