"""Packages in Python: opened on the devices they are for and on no others, on each engine."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import sealed
from models import onnx_models, tflite_models

import edgeward as ew
from edgeward import Case, Contents, Package, PrivateKey, Release
from edgeward.errors import BadInput, Forked, MalformedPackage, WrongKey

FIRST, SECOND, THIRD = (sealed.key(f"device {n}", "x25519") for n in (1, 2, 3))
STRANGER = sealed.key("stranger")
ONES = np.ones(4, np.float32)


def inputs_of(model, seed):
    """One input of each kind that a model takes; extreme values in the first."""
    generator = np.random.default_rng(seed)
    arrays = {}
    for spec in model.inputs:
        array = ew.empty([max(1, size) for size in spec.shape], spec.dtype)
        if array.dtype.kind == "f":
            array[...] = generator.standard_normal(array.shape)
            array.ravel()[:1] = [np.finfo(array.dtype).max, -np.inf, np.nan][seed % 3]
        elif array.dtype.kind == "b":
            array[...] = generator.integers(0, 2, array.shape)
        else:
            info = np.iinfo(array.dtype)
            array[...] = generator.integers(info.min, info.max, array.shape, array.dtype)
        arrays[spec.name] = array
    return arrays


def outputs_of(model, inputs):
    outputs = model.predict(inputs)
    return outputs if isinstance(outputs, dict) else {"": outputs}


MODELS = {
    "litert": [
        ("add", tflite_models.add()), ("sum_product", tflite_models.sum_product()),
        ("conv", tflite_models.conv()), ("conv_int8", tflite_models.conv_int8()),
        ("quantized_add", tflite_models.quantized_add()),
        ("add_150k", tflite_models.add_150k()),
    ],
    "litert-interpreter": [
        ("add", tflite_models.add()), ("conv_int8", tflite_models.conv_int8()),
        ("counter", tflite_models.counter()), ("where", tflite_models.data_dependent()),
    ],
    "tflite": [
        ("add", tflite_models.add()), ("conv_int8", tflite_models.conv_int8()),
        ("counter", tflite_models.counter()),
    ],
    "onnx": [
        ("add", onnx_models.to_ort(onnx_models.add())),
        ("conv", onnx_models.to_ort(onnx_models.conv())),
        ("sum_product as .onnx", onnx_models.sum_product()),
        ("conv as .onnx", onnx_models.conv()),
    ],
}  # fmt: skip


def test_what_two_devices_open_is_bit_for_bit_the_plain_model(engine_name, tmp_path):
    trust = sealed.trust_at(tmp_path / "trust")
    assert MODELS[engine_name]
    for number, (name, content) in enumerate(MODELS[engine_name]):
        path = tmp_path / f"{number}.ewp"
        Package.seal(
            content,
            path,
            Release(f"demo{number}", "1", 1),
            [sealed.PUBLISHER],
            encrypt_to=[FIRST.public, SECOND.public],
            converts=False,
            engine=engine_name,
        )
        with pytest.raises(WrongKey, match=THIRD.public.id.hex()):
            ew.load(path, trust=trust, key=THIRD, engine=engine_name)
        plain = ew.load_unsigned(content, engine=engine_name)
        for device in (FIRST, SECOND):
            model = ew.load(path, trust=trust, key=device, engine=engine_name)
            assert model.engine.name == engine_name
            for seed in range(3):
                inputs = inputs_of(plain, seed)
                expected, got = outputs_of(plain, inputs), outputs_of(model, inputs)
                assert list(got) == list(expected), name
                for output in expected:
                    assert got[output].tobytes() == expected[output].tobytes(), (name, output)


def test_an_onnx_is_sealed_as_the_form_that_opens_in_place(tmp_path):
    trust = sealed.trust_at(tmp_path / "trust")
    content = onnx_models.conv()
    samples = [inputs_of(ew.load_unsigned(content), 7)]
    samples = [{name: np.nan_to_num(array, neginf=0) for name, array in samples[0].items()}]
    path = tmp_path / "conv.ewp"
    contents = Contents(golden=[Case(samples[0])], keeps_original=True)
    sealed.seal(path, model=content, contents=contents, encrypt_to=[sealed.DEVICE.public])
    package = Package.open(path, trust=trust)
    assert [(member.name, member.type) for member in package.members] == [
        ("model.ort", "onnx"),
        ("original.onnx", "auxiliary"),
        ("golden.npz", "auxiliary"),
    ]
    assert package.read("original.onnx") == content
    with ew.load_unsigned(content) as plain, package.load() as model:
        expected, got = outputs_of(plain, samples[0]), outputs_of(model, samples[0])
    for name in expected:
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-4, atol=1e-5)
    assert all(difference.passed for difference in package.replay())


@pytest.fixture
def outside(tmp_path):
    """An .onnx whose tensor lies in weights.bin beside it."""
    import onnx
    from onnx import external_data_helper

    model = onnx.load_from_string(onnx_models.add((4096,), "float32"))
    external_data_helper.convert_model_to_external_data(
        model, location="weights.bin", size_threshold=0, convert_attribute=False
    )
    path = tmp_path / "model" / "model.onnx"
    path.parent.mkdir()
    onnx.save(model, path)
    assert (path.parent / "weights.bin").stat().st_size >= 16_384
    return path


@pytest.mark.parametrize("converts", [True, False])
def test_external_data_comes_out_of_the_package(converts, outside, tmp_path):
    trust = sealed.trust_at(tmp_path / "trust")
    path = tmp_path / "external.ewp"
    Package.seal(
        outside,
        path,
        Release("demo", "1", 1),
        [sealed.PUBLISHER],
        encrypt_to=[sealed.DEVICE.public],
        converts=converts,
    )
    shutil.rmtree(outside.parent)  # nothing is left beside the package
    package = Package.open(path, trust=trust)
    kinds = {member.name: member.type for member in package.members}
    assert kinds == (
        {"model.ort": "onnx"}
        if converts
        else {"model.onnx": "onnx", "weights.bin": "onnx-external"}
    )
    x = np.ones(4096, np.float32)
    with package.load() as model:
        assert np.array_equal(model.predict(x), x + np.arange(4096, dtype=np.float32))


def test_external_data_names_only_a_file_beside_the_model(outside, tmp_path):
    secret = tmp_path / "secret.bin"
    (outside.parent / "weights.bin").rename(secret)
    for name in ("../secret.bin", str(secret)):
        content = outside.read_bytes()
        renamed = outside.parent / "renamed.onnx"
        import onnx

        model = onnx.load_from_string(content)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = name
        renamed.write_bytes(model.SerializeToString())
        with pytest.raises(BadInput, match="the name of a file beside it"):
            sealed_at(renamed, tmp_path / "no.ewp")
    with pytest.raises(FileNotFoundError):
        sealed_at(outside, tmp_path / "no.ewp")
    (outside.parent / "weights.bin").symlink_to(secret)
    with pytest.raises(BadInput, match="in the same folder, got a link to"):
        sealed_at(outside, tmp_path / "no.ewp")
    with pytest.raises(BadInput, match="expected its path"):
        sealed_at(outside.read_bytes(), tmp_path / "no.ewp")
    assert not (tmp_path / "no.ewp").exists()


def sealed_at(model, path):
    return Package.seal(model, path, Release("demo", "1", 1), [sealed.PUBLISHER], converts=False)


# --- What a package tells ----------------------------------------------------------------------


def test_a_package_tells_what_was_put_into_it(tmp_path):
    trust = sealed.trust_at(tmp_path / "trust")
    samples = [{"x": np.full(4, n, np.float32)} for n in range(5)]
    contents = Contents(
        golden=[Case(samples[0]), Case(samples[1], {"y": np.arange(1, 5, dtype=np.float32)})],
        calibration=samples,
        card="# Adds\n",
        labels=["one", "two", "drei", "vier ü"],
        columns={"x": ["a", "b", "ü", "d"]},
    )
    path = sealed.seal(tmp_path / "full.ewp", counter=9, min_counter=4, contents=contents)
    package = Package.open(path, trust=trust)
    assert (package.name, package.version, package.target) == ("demo", "9.0", "any")
    assert len(package.package_id) == 64
    assert not package.is_encrypted
    assert package.entry.name == "model.tflite"
    assert package.card == "# Adds\n"
    assert package.labels == ["one", "two", "drei", "vier ü"]
    assert package.columns == {"x": ("a", "b", "ü", "d")}
    assert package.schema["<placeholder signature>"]["inputs"][0]["shape"] == [4]
    assert [difference.passed for difference in package.replay()] == [True, True]
    assert package.reference.sample_count == 5
    package.verify()
    plain = Package.open(sealed.seal(tmp_path / "bare.ewp", counter=10), trust=trust)
    assert (plain.card, plain.labels, plain.golden, plain.reference) == (None,) * 4
    assert plain.columns is None
    with pytest.raises(BadInput, match="golden"):
        plain.replay()
    with pytest.raises(BadInput, match="member"):
        plain.read("card.md")


def test_a_package_that_nobody_vouches_for_can_be_looked_at_and_not_run(tmp_path):
    path = sealed.seal(tmp_path / "demo.ewp", encrypt_to=[sealed.DEVICE.public])
    package = Package.unverified(path)
    assert package.name == "demo"
    package.verify()  # its stored bytes agree with its own head
    for act in (package.load, lambda: package.read("model.tflite")):
        with pytest.raises(BadInput, match="verified"):
            act()


@pytest.mark.parametrize(
    ("facts", "refusal"),
    [
        ({"counter": 1}, "rollback_refused"),
        ({"counter": 4, "epoch": 1}, "rollback_refused"),
        ({"counter": 4, "target": "linux-abacus"}, "wrong_target"),
        ({"counter": 4, "device_id": FIRST.public.id}, "wrong_target"),
        ({"counter": 4, "not_after_s": sealed.NOW_S - 1}, "expired_package"),
    ],
    ids=["older", "of another epoch", "of another machine", "bound", "expired"],
)
def test_a_package_that_may_not_run_here_can_be_read_and_not_run(tmp_path, clock, facts, refusal):
    trust = sealed.trust_at(tmp_path / "trust")
    sealed.run(sealed.seal(tmp_path / "newer.ewp", 3, min_counter=3), trust)
    state = (tmp_path / "trust" / "state.json").read_bytes()
    contents = Contents(card="# Adds\n", golden=[Case({"x": ONES})])
    path = sealed.seal(
        tmp_path / "p.ewp", contents=contents, encrypt_to=[sealed.DEVICE.public], **facts
    )
    with pytest.raises(ew.EdgewardError) as caught:
        Package.open(path, trust=trust)
    assert caught.value.code == refusal
    package = Package.authentic(path, trust=trust)
    assert package.card == "# Adds\n"
    for act in (package.load, package.replay):
        with pytest.raises(BadInput, match=r"open\(\) verified"):
            act()
    assert (tmp_path / "trust" / "state.json").read_bytes() == state
    with pytest.raises(ew.UntrustedPackage):
        Package.authentic(sealed.seal(tmp_path / "q.ewp", keys=[STRANGER]), trust=trust)
    with pytest.raises(WrongKey):
        _ = Package.authentic(path, trust=trust, key=SECOND).card


def test_load_and_load_unsigned_say_which_of_them_is_meant(tmp_path):
    trust = sealed.trust_at(tmp_path / "trust")
    path = sealed.seal(tmp_path / "demo.ewp")
    with pytest.raises(BadInput, match="got a package"):
        ew.load_unsigned(path)
    bare = tmp_path / "model.tflite"
    bare.write_bytes(sealed.MODEL)
    with pytest.raises(MalformedPackage, match=r"got a \.tflite model: load_unsigned"):
        ew.load(bare, trust=trust)
    link = tmp_path / "link.ewp"
    link.symlink_to(path)
    with pytest.raises(BadInput, match="symbolic link: name the file"):
        ew.load(link, trust=trust)
    with pytest.raises(FileNotFoundError):
        ew.load(tmp_path / "none.ewp", trust=trust)


def test_arguments_are_looked_at_before_any_file(tmp_path):
    for arguments in ({"engine": 3}, {"threads": 0}, {"threads": "many"}, {"engine": "none"}):
        with pytest.raises((BadInput, FileNotFoundError)) as caught:
            ew.load(tmp_path / "none.ewp", trust=tmp_path, **arguments)
        assert isinstance(caught.value, BadInput) or arguments == {"engine": "none"}


# --- Recipients and signatures -------------------------------------------------------------------


def test_devices_can_be_added_and_taken_out_without_touching_the_package(tmp_path):
    trust = sealed.trust_at(tmp_path / "trust")
    path = sealed.seal(tmp_path / "demo.ewp", encrypt_to=[FIRST.public])
    before = path.read_bytes()
    with pytest.raises(WrongKey):
        Package.open(path, trust=trust, key=SECOND).add_recipients([THIRD.public])
    Package.open(path, trust=trust, key=FIRST).add_recipients([SECOND.public, THIRD.public])
    for device in (FIRST, SECOND, THIRD):
        sealed.run(path, trust, device)
    Package.unverified(path).remove_recipients([FIRST.public])
    with pytest.raises(WrongKey):
        sealed.run(path, trust, FIRST)
    sealed.run(path, trust, SECOND)
    with pytest.raises(BadInput, match="got none among 2"):
        Package.unverified(path).remove_recipients([FIRST.public])
    now_s = int(time.time())
    opened = Package.open(path, trust=trust, key=SECOND)
    opened.add_recipients([FIRST.public], not_before_s=now_s + 1000)
    with pytest.raises(WrongKey, match=r"expected use from \d{4}-.*T.*Z on, got the time \d{4}-"):
        sealed.run(path, trust, FIRST)
    assert path.read_bytes() == before
    plain = sealed.seal(tmp_path / "plain.ewp", counter=2)
    with pytest.raises(BadInput, match="encrypted"):
        Package.open(plain, trust=trust).add_recipients([FIRST.public])


def test_a_package_without_its_wraps_says_what_is_missing(tmp_path):
    trust = sealed.trust_at(tmp_path / "trust")
    path = sealed.seal(tmp_path / "demo.ewp", encrypt_to=[sealed.DEVICE.public])
    os.unlink(tmp_path / "demo.ewk")
    with pytest.raises(WrongKey, match=r"demo\.ewk.*copy it along"):
        ew.load(path, trust=trust)


# --- Whole or not at all -------------------------------------------------------------------------

SEALER = """
import os, signal, sys
import numpy as np, sealed
from edgeward import Package, Release
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
def killed(noun, done, total):
    if done * 2 >= total:
        os.kill(os.getpid(), getattr(signal, sys.argv[2]))
weights = np.zeros(1 << 20, np.float32)
from models import tflite_models
Package.seal(tflite_models.add_constant(weights), sys.argv[1], Release("demo", "2", 2),
             [sealed.PUBLISHER], encrypt_to=[sealed.DEVICE.public], progress=killed)
"""


def sealing(path, kill):
    return subprocess.run(
        [sys.executable, "-c", SEALER, str(path), kill],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_sealing_that_is_killed_leaves_the_old_package(tmp_path):
    trust = sealed.trust_at(tmp_path / "trust")
    path = sealed.seal(tmp_path / "demo.ewp", encrypt_to=[sealed.DEVICE.public])
    before = path.read_bytes()
    assert sealing(path, "SIGKILL").returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    sealed.run(path, trust)


def test_a_sealing_that_is_interrupted_leaves_nothing_behind(tmp_path):
    done = sealing(tmp_path / "demo.ewp", "SIGINT")
    assert "KeyboardInterrupt" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_error_and_leaves_nothing_behind(tmp_path):
    program = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000,) * 2)\n"
    program += "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    done = subprocess.run(
        [sys.executable, "-c", program + SEALER, str(tmp_path / "demo.ewp"), "SIGCONT"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "OSError" in done.stderr
    assert list(tmp_path.iterdir()) == []


# --- Forks ---------------------------------------------------------------------------------------


def in_child(act):
    """What `act` raises in a forked child, by name; the child then ends as programs end."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            act()
            word = b"nothing"
        except Exception as error:
            word = type(error).__name__.encode()
        gc.collect()
        os.write(writer, word)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answer:
        word = answer.read().decode()
    _, status = os.waitpid(pid, 0)
    assert status == 0
    return word


def test_keys_and_packages_of_another_process_are_refused_and_let_go(tmp_path):
    trust = sealed.trust_at(tmp_path / "trust")
    path = sealed.seal(tmp_path / "demo.ewp", encrypt_to=[sealed.DEVICE.public])
    key = PrivateKey.generate("ed25519")
    package = Package.open(path, trust=trust)
    assert in_child(lambda: key.public) == Forked.__name__
    assert in_child(package.load) == Forked.__name__

    def drop():
        nonlocal key, package
        del key, package

    assert in_child(drop) == "nothing"
    assert key.public.algorithm == "ed25519"
    with package.load() as model:
        assert model.inputs
    with Package.open(path, trust=trust).load():
        pass
    assert in_child(lambda: ew.load(path, trust=trust.directory, key=None)) == "nothing"


def test_a_path_without_a_package_is_told_before_a_trust_root_is_missed(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.ewp"):
        ew.load(tmp_path / "nothing.ewp", trust=tmp_path / "none")
    path = tmp_path / "model.tflite"
    path.write_bytes(sealed.MODEL)
    for opened in (ew.load, ew.Package.open, ew.Package.authentic):
        with pytest.raises(ew.MalformedPackage, match=r"got a \.tflite model: load_unsigned runs"):
            opened(path, trust=tmp_path / "none")
