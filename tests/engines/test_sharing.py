"""Packed weights that the processes of one user map once."""

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from models import onnx_models, single_operators, tflite_models
from models.tflite_writer import Op, Subgraph, Tensor, constant
from models.tflite_writer import model as tflite_file

import edgeward as ew
from edgeward.engines import sharing

PACKED_FROM_BYTES = 1 << 20
TESTS = Path(__file__).parents[1]


def network(start=0):
    """A fully connected layer, in a file that is large enough for packed weights."""
    weights = (np.arange(start, start + 600 * 500, dtype=np.float32) % 97).reshape(500, 600)
    tensors = [Tensor("x", "float32", (1, 600)), constant("w", weights)]
    tensors.append(Tensor("y", "float32", (1, 500)))
    return tflite_file(
        [Subgraph(tensors, [Op("FULLY_CONNECTED", ["x", "w"], ["y"])], ["x"], ["y"])]
    )


def onnx_network(start=0):
    weights = (np.arange(start, start + 600 * 500, dtype=np.float32) % 97).reshape(600, 500)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "network",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 600))],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (1, 500))],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    opsets = [onnx.helper.make_opsetid("", onnx_models.OPSET)]
    model = onnx.helper.make_model(graph, ir_version=onnx_models.IR_VERSION, opset_imports=opsets)
    return model.SerializeToString()


NETWORKS = {".tflite": network, ".onnx": onnx_network}
ENGINES = {".tflite": "litert", ".onnx": "onnx"}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(network())
    return path


@pytest.fixture(params=NETWORKS)
def each_path(request, tmp_path):
    """On each engine whose processes share weights."""
    path = tmp_path / f"model{request.param}"
    path.write_bytes(NETWORKS[request.param]())
    return path


@pytest.fixture
def weights(tmp_path):
    return tmp_path / "weights"


def load(path, shared, **options):
    engine = "litert" if isinstance(path, bytes) else ENGINES.get(Path(path).suffix)
    return ew.load_unsigned(path, engine=engine, shared=shared, **options)


def answer(model):
    return model.predict(np.linspace(-1, 1, 600, dtype=np.float32).reshape(1, 600)).tobytes()


def files(weights):
    return sorted(weights.glob("*.packed"))


def mapped_inodes(suffix=".packed"):
    """Of the files of weights that this process has mapped."""
    with open("/proc/self/maps") as maps:
        return {int(line.split()[4]) for line in maps if line.rstrip().endswith(suffix)}


# --- Answers --------------------------------------------------------------------------------------

PACKED = [
    name
    for name in single_operators.ALL
    if name.startswith(("CONV_", "DEPTHWISE_CONV_2D", "FULLY_", "TRANSPOSE_CONV", "BATCH_MATMUL"))
    and name != "DEPTHWISE_CONV_2D/float32_by_int8"  # the engine's own kernel answers at random
]
MODELS = {
    **tflite_models.ALL,
    **{name: single_operators.ALL[name] for name in PACKED},
    "mobilenet": lambda: tflite_models.mobilenet(0.25),
    "mobilenet_int8": lambda: tflite_models.mobilenet_int8(0.25),
}


def bits(array):
    return array.tolist() if array.dtype.kind in "OT" else array.tobytes()


def answers(model):
    """What two sessions of each signature answer to random inputs."""
    result = []
    for key in model.signatures:
        for session in (model.session(key), model.session(key)):
            generator = np.random.default_rng(3)
            for array in session.inputs.values():
                numbers = generator.integers(0, 3, array.shape)
                array[...] = numbers.astype(str) if array.dtype.kind in "OT" else numbers
            session.run()
            result.append({name: bits(array) for name, array in session.outputs.items()})
    return result


@pytest.mark.parametrize("name", MODELS)
def test_a_model_answers_the_same_without_and_with_weights_that_are_kept_and_found(
    name, tmp_path, weights
):
    path = tmp_path / "model.tflite"
    content = MODELS[name]()
    path.write_bytes(content + bytes(max(0, PACKED_FROM_BYTES - len(content))))
    try:
        expected = answers(load(path, False))
    except ew.UnsupportedModel:
        pytest.skip("the engine does not run it")
    for _ in range(2):
        assert answers(load(path, weights)) == expected


@pytest.mark.parametrize("name", onnx_models.ALL)
def test_an_onnx_answers_the_same_as_the_ort_that_is_kept_of_it(name, tmp_path, weights):
    path = tmp_path / "model.onnx"
    model = onnx.load_from_string(onnx_models.ALL[name]())
    model.doc_string = " " * PACKED_FROM_BYTES
    path.write_bytes(model.SerializeToString())
    plain = load(path, False)
    expected = answers(plain)
    for _ in range(2):
        shared = load(path, weights)
        assert answers(shared) == expected
        assert shared.signatures == plain.signatures


# --- Who shares -----------------------------------------------------------------------------------

PROGRAM = """
import sys
from engines import test_sharing as t
model = t.load(sys.argv[1], sys.argv[2])
y = t.answer(model)
print(model.engine.is_shared, *t.mapped_inodes(), y.hex()[:64], flush=True)
sys.stdin.read()
"""


def start(path, weights):
    command = [sys.executable, "-c", PROGRAM, str(path), str(weights)]
    return subprocess.Popen(
        command, cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_programs_that_start_at_once_map_one_file(each_path, weights):
    programs = [start(each_path, weights) for _ in range(4)]
    lines = {program.stdout.readline().strip() for program in programs}
    for program in programs:
        program.communicate("")
        assert program.returncode == 0
    (file,) = files(weights)
    assert lines == {f"True {file.stat().st_ino} {answer(load(each_path, False)).hex()[:64]}"}


def test_the_file_and_its_directory_are_of_this_user_alone(each_path, weights):
    model = load(each_path, weights)
    assert model.engine.is_shared
    assert model.engine.shares_weights
    (file,) = files(weights)
    assert stat.S_IMODE(weights.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o400
    assert mapped_inodes() == {file.stat().st_ino}
    sessions = [model.session() for _ in range(3)]
    assert len(sessions) == 3
    assert mapped_inodes() == {file.stat().st_ino}


def test_no_descriptor_is_left_and_none_is_inherited(each_path, weights):
    load(each_path, weights).close()
    before = set(os.listdir("/proc/self/fd"))
    model = load(each_path, weights)
    sessions = [model.session(), model.session()]
    for number in set(os.listdir("/proc/self/fd")) - before:
        if os.path.exists(f"/proc/self/fd/{number}"):
            assert not os.get_inheritable(int(number))
    del model, sessions
    assert set(os.listdir("/proc/self/fd")) == before


def test_another_model_and_other_threads_have_files_of_their_own(path, tmp_path, weights):
    other = tmp_path / "other.tflite"
    other.write_bytes(network(5))
    models = [load(path, weights, threads=1), load(other, weights), load(path, weights, threads=2)]
    assert len(files(weights)) == 3
    assert all(model.engine.is_shared for model in models)
    assert answer(models[0]) != answer(models[1])


def test_an_engine_that_packs_nothing_says_so(path, tmp_path, weights):
    onnx = tmp_path / "model.onnx"
    onnx.write_bytes(onnx_models.add())
    small = tmp_path / "small.tflite"
    small.write_bytes(tflite_models.conv())
    for model in (
        ew.load_unsigned(onnx, shared=weights),
        load(small, weights),
        ew.load_unsigned(path, engine="litert-interpreter", shared=weights),
        load(path, False),
    ):
        assert not model.engine.is_shared
    assert files(weights) == []


def test_an_ort_is_mapped_as_it_is(tmp_path, weights):
    path = tmp_path / "model.ort"
    original = onnx_network()
    path.write_bytes(onnx_models.to_ort(original))
    model = ew.load_unsigned(path, shared=weights)
    assert model.engine.is_shared
    (file,) = weights.glob("*.model")
    assert mapped_inodes(".model") == {file.stat().st_ino}
    assert answer(model) == answer(ew.load_unsigned(original))


def test_an_onnx_with_data_beside_it_is_not_shared(tmp_path, weights):
    path = tmp_path / "model.onnx"
    model = onnx.load_from_string(onnx_network())
    model.doc_string = " " * PACKED_FROM_BYTES
    onnx.save_model(model, str(path), save_as_external_data=True, location="data")
    for _ in range(2):
        assert not load(path, weights).engine.is_shared
    assert files(weights) == []


@pytest.mark.parametrize("shared", [None, 1, b"weights"])
def test_what_names_no_directory_is_refused(path, shared):
    with pytest.raises(ew.BadInput, match="shared: expected True, False or a directory, got"):
        load(path, shared)


def test_bytes_and_packages_are_not_shared(path, tmp_path, weights):
    with pytest.raises(ew.BadInput, match="shared: expected the path of a model to share, got"):
        load(path.read_bytes(), weights)
    package = tmp_path / "model.ewp"
    package.write_bytes(ew._core.PACKAGE_MAGIC + bytes(4096))
    with pytest.raises(ew.BadInput, match="expected a bare model, got a package"):
        load(package, weights)
    assert files(weights) == []


# --- Where ----------------------------------------------------------------------------------------


def test_true_is_the_directory_of_the_variable_else_one_in_memory(path, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv(sharing.VARIABLE, raising=False)
    assert load(path, True).engine.is_shared
    assert len(files(tmp_path / "edgeward" / "weights")) == 1
    monkeypatch.setenv(sharing.VARIABLE, str(tmp_path / "named"))
    assert load(path, True).engine.is_shared
    assert len(files(tmp_path / "named")) == 1
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert sharing.directory_in_memory() == f"/dev/shm/edgeward-{os.geteuid()}/weights"


def spoil(weights, way):
    weights.mkdir(mode=0o700)
    if way == "mode 0755":
        weights.chmod(0o755)
    elif way == "no directory":
        weights.rmdir()
        weights.write_bytes(b"")
    elif way == "a link":
        weights.rename(weights.with_name("target"))
        weights.symlink_to(weights.with_name("target"))
    else:
        if os.geteuid() != 0:
            pytest.skip("for root alone")
        os.chown(weights, 12345, 12345)


@pytest.mark.parametrize("way", ["mode 0755", "no directory", "a link", "one of user 12345"])
def test_a_directory_that_others_may_enter_is_refused_where_it_is_named(path, weights, way):
    spoil(weights, way)
    got = "no directory" if way == "a link" else way
    with pytest.raises(ew.BadInput, match=f"this user's own with mode 0700, got {got}"):
        load(path, weights)


@pytest.mark.parametrize("way", ["mode 0755", "no directory", "a link", "one of user 12345"])
def test_where_it_is_not_named_nothing_is_shared(path, tmp_path, monkeypatch, way):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv(sharing.VARIABLE, raising=False)
    (tmp_path / "edgeward").mkdir(mode=0o700)
    spoil(tmp_path / "edgeward" / "weights", way)
    model = load(path, True)
    assert not model.engine.is_shared
    assert answer(model) == answer(load(path, False))


# --- Attacks --------------------------------------------------------------------------------------


def flip(file, offset):
    content = bytearray(file.read_bytes())
    content[offset] ^= 4
    file.write_bytes(content)


def swapped(file, weights):
    """Another model's weights, under the name of these."""
    (suffix,) = {path.suffix for path in weights.parent.glob("model.*")}
    other = weights.parent / f"other{suffix}"
    other.write_bytes(NETWORKS[suffix](5))
    load(other, weights)
    (other_file,) = set(files(weights)) - {file}
    other_file.rename(file)


def linked(file, weights):
    target = weights.parent / "elsewhere"
    file.rename(target)
    file.symlink_to(target)


def piped(file, weights):
    file.unlink()
    os.mkfifo(file, 0o400)


ATTACKS = {
    "a bit of the first byte": lambda file, weights: flip(file, 0),
    "a bit in the middle": lambda file, weights: flip(file, file.stat().st_size // 2),
    "a bit of the last byte": lambda file, weights: flip(file, -1),
    "empty": lambda file, weights: os.truncate(file, 0),
    "one page": lambda file, weights: os.truncate(file, 4096),
    "without its last byte": lambda file, weights: os.truncate(file, file.stat().st_size - 1),
    "longer": lambda file, weights: os.truncate(file, file.stat().st_size + 1),
    "swapped": swapped,
    "a link": linked,
    "a pipe": piped,
    "writable by others": lambda file, weights: file.chmod(0o466),
    "without its key": lambda file, weights: (weights / "key").unlink(),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_weights_that_were_tampered_with_are_made_anew(each_path, weights, attack):
    path = each_path
    expected = answer(load(path, False))
    load(path, weights)
    (file,) = files(weights)
    file.chmod(0o600)
    attack(file, weights)
    if not file.is_symlink() and file.is_file() and attack is not ATTACKS["writable by others"]:
        file.chmod(0o400)
    model = load(path, weights)
    assert answer(model) == expected
    assert model.engine.is_shared
    again = load(path, weights)
    assert answer(again) == expected
    assert again.engine.is_shared
    assert not file.exists() or not file.is_symlink()


def test_a_file_that_goes_while_it_is_mapped_stays_with_who_maps_it(each_path, weights):
    path = each_path
    model = load(path, weights)
    expected = answer(model)
    (file,) = files(weights)
    file.unlink()
    assert answer(model) == expected
    assert load(path, weights).engine.is_shared
    assert answer(model) == expected


def test_where_a_write_may_fail_nothing_is_shared(each_path, weights):
    path = each_path
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        model = load(path, weights)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not model.engine.is_shared
    assert answer(model) == answer(load(path, False))
    assert files(weights) == []


def test_in_a_full_file_system_nothing_is_shared(each_path, weights):
    path = each_path
    weights.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(weights)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"mounting a tmpfs is not permitted here: {mounted.stderr.strip()}")
    try:
        model = load(path, weights)
        assert not model.engine.is_shared
        assert model.engine.shares_weights
        assert answer(model) == answer(load(path, False))
        assert files(weights) == []
    finally:
        subprocess.run(["umount", "--lazy", str(weights)], check=True)


# In a child whose address space may grow by so many bytes: an engine that cannot map aborts.
SCARCE = """
import os, resource, sys
from engines import test_sharing as t
import edgeward as ew
path, weights = sys.argv[1:]
expected = t.answer(t.load(path, weights))
for step in range(40):
    child = os.fork()
    if child == 0:
        size_bytes = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        limit = size_bytes + step * (1 << 18)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            os._exit(0 if t.answer(t.load(path, weights)) == expected else 1)
        except (ew.EdgewardError, MemoryError, OSError):
            os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def test_where_there_is_no_room_to_map_it_no_process_is_killed(each_path, weights, run_child):
    assert run_child(SCARCE, each_path, weights).split() == ["0"] * 40
