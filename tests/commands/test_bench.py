"""`edgeward bench`: the command on small models, and what it is made of. No time is judged."""

import json
import subprocess
import sys

import numpy as np
import pytest
import sealed
from models import onnx_models, stateful_models, tflite_models
from models.tflite_writer import Op, Subgraph, Tensor, constant
from models.tflite_writer import model as tflite_file

import edgeward as ew
from edgeward.commands import bench
from edgeward.engines.processors import doubling_counts
from edgeward.measuring import capturing, peers
from edgeward.reports.inspection import duration

OUR_WAYS = [bench.BARE, bench.RUN, bench.PREDICT, bench.PREDICT_EMPTY, bench.PREDICT_OUT]
MODELS = {
    "one_op.tflite": tflite_models.add,
    "two_in_two_out.tflite": tflite_models.sum_product,
    "dynamic.tflite": tflite_models.dynamic_batch,
    "one_op.onnx": onnx_models.add,
    "two_in_two_out.onnx": onnx_models.sum_product,
    "dynamic.onnx": onnx_models.dynamic_batch,
}


def run_bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeward", "bench", "--seconds", "0.02", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def model_path(tmp_path):
    def write(name: str) -> str:
        if name.endswith(".onnx"):
            pytest.importorskip("onnxruntime")
        path = tmp_path / name
        path.write_bytes(MODELS[name]())
        return str(path)

    return write


@pytest.mark.parametrize("name", MODELS)
def test_the_document_is_complete_and_sane(model_path, name):
    path = model_path(name)
    done = run_bench(path, "--vs", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["model"] == path
    assert document["size_bytes"] == len(MODELS[name]())
    engine = document["engine"]["name"]
    assert engine == {"tflite": "litert", "onnx": "onnx"}[path.rpartition(".")[2]]
    load = document["load"]
    assert min(load["first_ms"], load["again_ms"], load["first_run_ms"]) > 0
    assert min(load["before_bytes"], load["loaded_bytes"], load["run_bytes"]) > 1 << 20
    (part,) = document["runs"]
    assert part["threads"] == 1
    assert part["rounds"] >= 30
    assert part["failures"] == {}
    rivals = list(peers.PEERS[engine])
    assert [way["name"] for way in part["ways"]] == OUR_WAYS + rivals
    assert [way["is_ours"] for way in part["ways"]] == [True] * len(OUR_WAYS) + [False] * len(
        rivals
    )
    for way in part["ways"]:
        latency = way["latency"]
        assert way["per_call_us"] > 0
        assert latency["calls"] >= 100
        percentiles = [latency[f"{part}_us"] for part in ("p50", "p90", "p99", "p999", "max")]
        assert percentiles == sorted(percentiles)
        assert percentiles[0] > 0
    expected = {(bench.RUN, bench.BARE)} | {
        (ours, theirs) for ours in OUR_WAYS for theirs in rivals
    }
    assert {(ratio["ours"], ratio["theirs"]) for ratio in part["ratios"]} == expected
    for ratio in part["ratios"]:
        assert 0 < ratio["least"] <= ratio["median"] <= ratio["greatest"]
    assert part["copies_per_call"][bench.PREDICT_EMPTY] == 0
    callers = [throughput["callers"] for throughput in part["throughput"]]
    assert callers == doubling_counts(document["machine"]["cores"])
    assert all(throughput["per_s"] > 0 for throughput in part["throughput"])


@pytest.mark.parametrize("make", [stateful_models.ALL["lstm"], tflite_models.sum_product])
def test_peers_print_nothing_whether_they_run_or_refuse_the_model(make, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(make())
    done = run_bench(str(path), "--vs")
    lines = done.stderr.splitlines()
    assert (done.returncode, [line for line in lines if not line.startswith("bench: ")]) == (0, [])


def test_a_model_without_inputs_is_measured(tmp_path):
    constants = [constant(name, np.ones(3, np.float32)) for name in "ab"]
    graph = Subgraph(
        [*constants, Tensor("y", "float32", (3,))], [Op("ADD", ["a", "b"], ["y"])], [], ["y"]
    )
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite_file([graph]))
    done = run_bench(str(path), "--json", "--vs")
    assert done.returncode == 0, done.stderr
    assert set(OUR_WAYS) <= {way["name"] for way in json.loads(done.stdout)["runs"][0]["ways"]}


def test_outputs_of_no_fixed_shape_leave_out_what_needs_one(tmp_path):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "data_dependent.onnx"
    path.write_bytes(onnx_models.data_dependent())
    done = run_bench(str(path), "--json")
    assert done.returncode == 0, done.stderr
    (part,) = json.loads(done.stdout)["runs"]
    names = [way["name"] for way in part["ways"]]
    assert names == [bench.RUN, bench.PREDICT, bench.PREDICT_EMPTY]
    assert part["ratios"] == []


def test_a_file_gives_the_shape_and_the_values_of_an_input(model_path, tmp_path):
    rows = tmp_path / "rows.npy"
    np.save(rows, np.ones((3, 4), np.float32))
    path = model_path("dynamic.tflite")
    (name,) = [spec.name for spec in ew.load_unsigned(path).inputs]
    for argument in (str(rows), f"{name}={rows}"):
        done = run_bench(path, "--input", argument, "--vs", "--json")
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert document["inputs"] == [{"name": name, "dtype": "float32", "shape": [3, 4]}]
        assert document["runs"][0]["failures"] == {}
    assert f"\n{name}  float32 [3, 4]\n" in run_bench(path, "--input", str(rows)).stdout


def test_a_model_that_does_not_run_on_ones_asks_for_a_file(tmp_path):
    path, sound = tmp_path / "front_end.tflite", tmp_path / "sound.npy"
    path.write_bytes(tflite_models.frames())
    done = run_bench(str(path))
    assert done.returncode == 2
    assert 'expected --input for "x"' in done.stderr
    np.save(sound, np.zeros(8, np.float32))
    done = run_bench(str(path), "--input", str(sound))
    assert done.returncode == 0, done.stderr


def test_a_file_that_does_not_fit_is_bad_input(model_path, tmp_path):
    np.save(tmp_path / "wide.npy", np.ones((3, 5), np.float32))
    done = run_bench(model_path("dynamic.tflite"), "--input", str(tmp_path / "wide.npy"))
    assert done.returncode == 2
    assert "expected float32 [-1, 4], got [3, 5]" in done.stderr


def test_a_package_is_measured_and_not_remembered(tmp_path):
    path = sealed.seal(tmp_path / "demo.ewp", counter=7, min_counter=7)
    trust = sealed.trust_at(tmp_path / "trust")
    done = run_bench(str(path), "--trust", str(trust.directory), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["package"]["name"], report["package"]["version"]) == ("demo", "7.0")
    assert report["runs"][0]["ways"]
    assert trust.floors() == {}


def test_a_package_has_no_peers(tmp_path):
    done = run_bench(str(sealed.seal(tmp_path / "demo.ewp")), "--vs")
    assert done.returncode == 2
    assert "demo.ewp: expected a bare model with --vs, got a package" in done.stderr


def test_each_thread_count_is_measured(model_path):
    done = run_bench(model_path("one_op.tflite"), "--threads", "2,1", "--json")
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)["runs"]
    assert [part["threads"] for part in runs] == [2, 1]
    assert [[way["name"] for way in part["ways"]] for part in runs] == [OUR_WAYS, OUR_WAYS]


def test_an_unaligned_input_is_copied_once_for_litert_and_counted(model_path):
    done = run_bench(model_path("one_op.tflite"), "--json")
    assert done.returncode == 0, done.stderr
    (part,) = json.loads(done.stdout)["runs"]
    assert part["copies_per_call"] == {bench.PREDICT: 1, bench.PREDICT_EMPTY: 0}


def test_the_table_names_every_way_and_the_chart_has_pixels_of_both_sides(model_path, tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    chart = tmp_path / "chart.png"
    done = run_bench(model_path("one_op.tflite"), "--vs", "--png", str(chart))
    assert done.returncode == 0, done.stderr
    for name in [*OUR_WAYS, *peers.PEERS["litert"]]:
        assert f"\n{name} " in done.stdout
    assert "copies per call, predict(x) from ew.empty" in done.stdout
    with image_module.open(chart) as image:
        assert image.format == "PNG"
        colours = {colour: count for count, colour in image.convert("RGB").getcolors(1 << 20)}
    assert colours[(0x1F, 0x7A, 0x6D)] > 1000, "bars of Edgeward"
    assert colours[(0xB8, 0xC1, 0xCB)] > 1000, "bars of the engine's own API"


def test_what_capturing_adds_is_measured_when_it_is_asked_for(model_path):
    path = model_path("two_in_two_out.tflite")
    done = run_bench(path, "--capture", "--limit", "0.05", "--json")
    assert done.returncode == 0, done.stderr
    captured = json.loads(done.stdout)["capture"]
    assert [added["name"] for added in captured["additions"]] == list(capturing.KINDS)
    assert captured["failures"] == {}
    assert captured["without_us"] > 0
    done = run_bench(path, "--capture", "--limit", "0.05")
    assert all(f"\n{name} " in done.stdout for name in capturing.KINDS)
    assert json.loads(run_bench(path, "--json").stdout)["capture"] is None


@pytest.mark.parametrize(
    "option",
    [
        ("--threads", "0"),
        ("--threads", "x"),
        ("--seconds", "0"),
        ("--seconds", "nan"),
        ("--seconds", "x"),
        ("--threads", "1,"),
    ],
    ids=" ".join,
)
def test_a_wrong_option_is_bad_input(model_path, option):
    done = run_bench(model_path("one_op.tflite"), *option)
    assert done.returncode == 2
    assert "bad_input" in done.stderr
    assert option[0] in done.stderr


def test_a_file_that_is_no_model_is_named(tmp_path):
    path = tmp_path / "noise.tflite"
    path.write_bytes(b"\x00" * 64)
    done = run_bench(str(path), "--json")
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "malformed_model"


def test_a_peer_that_cannot_run_is_a_result(tmp_path):
    missing = str(tmp_path / "missing.tflite")
    inputs = {"x": np.zeros(16, np.float32)}
    able, failures = peers.ways("litert", peers.Task(missing, "main", inputs, 1))
    assert able == []
    assert list(failures) == list(peers.PEERS["litert"])
    assert all(failures.values())


@pytest.mark.parametrize(
    ("cpus", "callers"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 4]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])],
    ids=str,
)
def test_calling_threads_double_up_to_the_processors(cpus, callers):
    assert doubling_counts(cpus) == callers


@pytest.mark.parametrize(
    ("dtype", "least", "greatest"),
    [
        ("int8", -128, 127),
        ("uint8", 0, 255),
        ("int32", 0, 1),
        ("uint64", 0, 1),
        ("bool", False, True),
    ],
)
def test_random_integers_are_valid_and_use_their_range(dtype, least, greatest):
    values = bench.random_values(np.dtype(dtype), (64, 64), np.random.default_rng(1))
    assert (values.dtype, values.shape) == (np.dtype(dtype), (64, 64))
    assert (values.min(), values.max()) == (least, greatest)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
def test_random_numbers_are_finite_and_differ(dtype):
    values = bench.random_values(np.dtype(dtype), (8, 8), np.random.default_rng(1))
    assert (values.dtype, values.shape) == (np.dtype(dtype), (8, 8))
    assert np.isfinite(values).all()
    assert len(np.unique(values)) > 8


@pytest.mark.parametrize("shape", [(), (1,), (7, 3)], ids=str)
def test_an_ordinary_array_lies_on_16_bytes_and_not_on_64(shape):
    values = np.random.default_rng(1).standard_normal(shape)
    copy = bench.ordinary(np.asarray(values))
    assert copy.ctypes.data % 64 == 16
    assert copy.flags.c_contiguous
    assert np.array_equal(copy, values)


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0.0501, "50.1 ns"),
        (0.8124, "812 ns"),
        (0.99949, "999 ns"),
        (0.9999, "1.00 us"),
        (9.994, "9.99 us"),
        (9.996, "10.0 us"),
        (99.96, "100 us"),
        (4070.0, "4.07 ms"),
        (999_600.0, "1.00 s"),
    ],
)
def test_a_duration_has_three_digits_in_a_unit_that_suits(us, text):
    assert duration(us) == text
