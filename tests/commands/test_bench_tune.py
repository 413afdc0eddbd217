"""`edgeward bench --tune`: what it writes is what loads. No time is judged."""

import json
import subprocess
import sys

import pytest
import sealed
from models import onnx_models, tflite_models

import edgeward as ew
from edgeward.commands import bench_tune
from edgeward.engines.installed import all_installed
from edgeward.engines.processors import doubling_counts, usable_cpus


def tuned(*words):
    command = [sys.executable, "-m", "edgeward", "bench", "--tune", "--seconds", "0.01", *words]
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)


def test_the_fastest_of_all_pairs_is_what_auto_loads(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(tflite_models.conv())
    done = tuned(path, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    engines = [
        e.name for e in all_installed() if e.name in ("litert", "litert-interpreter", "tflite")
    ]
    wanted = {(engine, count) for engine in engines for count in doubling_counts(usable_cpus())}
    assert {(race["engine"], race["threads"]) for race in document["races"]} == wanted
    chosen = document["chosen"]
    assert (chosen["engine"], chosen["threads"]) in wanted
    with ew.load_unsigned(path, engine="auto") as model:
        assert {"engine": model.engine.name, "threads": model.threads} == chosen
    assert document["file"] == f"{path}.ewt"
    assert "litert, 1 thread" in tuned(path).stdout


def test_what_wins_once_by_chance_is_not_chosen(monkeypatch, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(tflite_models.add())
    default = bench_tune.Pair("litert", 1)
    ratios = {bench_tune.SEED: 0.5, bench_tune.SEED + 1: 0.99}

    def race(args, pair, default, prepare, seed):
        return bench_tune.Race(pair, 1.0, 1.0 if pair == default else ratios[seed], 0.1, 2.0)

    monkeypatch.setattr(bench_tune, "race", race)
    monkeypatch.setattr(bench_tune, "default_pair", lambda args: default)
    args = type("Args", (), {"model": str(path)})
    assert bench_tune.run(args, None, print).report["chosen"] == default._asdict()
    ratios[bench_tune.SEED + 1] = 0.5
    assert bench_tune.run(args, None, print).report["chosen"] != default._asdict()


def test_a_package_is_tuned_without_being_remembered(tmp_path):
    trust = sealed.trust_at(tmp_path / "trust")
    package = sealed.seal(tmp_path / "camera.ewp", encrypt_to=[sealed.DEVICE.public])
    done = tuned(package, "--trust", trust.directory)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "trust" / "state.json").exists()
    with ew.load(package, trust=trust, engine="auto") as model:
        assert f"chosen: {model.engine.name}, {model.threads} thread" in done.stdout


@pytest.mark.parametrize("word", ["--vs", "--threads=1"])
def test_what_it_does_not_take_is_refused(tmp_path, word):
    path = tmp_path / "m.tflite"
    path.write_bytes(tflite_models.add())
    done = tuned(path, word)
    assert done.returncode != 0
    assert word.partition("=")[0] in done.stderr
    assert not path.with_name("m.tflite.ewt").exists()


def test_an_onnx_is_known_by_its_bytes_and_those_beside_it(tmp_path):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx_models.add())
    assert tuned(path).returncode == 0
    content = json.loads((tmp_path / "m.onnx.ewt").read_text())
    assert content["engine"] == "onnx"
    assert content["model_bytes"] == len(onnx_models.add())
