"""What Edgeward takes from the machine: modules, files, descriptors, threads, memory."""

import json
import sys
from pathlib import Path

import pytest
from engines_here import models_of

import edgeward as ew

DIGITS = Path(ew.__file__).parent / "digits"

IMPORTED = """
import json, sys
{first}
before = set(sys.modules)
{then}
print(json.dumps(sorted(set(sys.modules) - before)))
"""


INTERPRETERS = {"_interpreters", "_xxsubinterpreters"}  # of Python itself: which one this is


# An editable install finds its modules by importlib.util.
def modules_brought_by(run_child, then, first="import numpy, importlib.util"):
    return set(json.loads(run_child(IMPORTED.format(first=first, then=then))))


def test_import_brings_numpy_the_core_and_nothing_else(run_child):
    brought = modules_brought_by(run_child, "import edgeward")
    ours = {name for name in brought if name.partition(".")[0] == "edgeward"}
    assert {"edgeward", "edgeward._core"} <= ours
    assert brought - ours - INTERPRETERS == set()


def test_import_brings_no_module_that_only_a_command_needs(run_child):
    ours = modules_brought_by(run_child, "import edgeward")
    commands = [name for name in ours if name.startswith(("edgeward.cli", "edgeward.commands"))]
    assert commands == []
    assert modules_brought_by(run_child, "import edgeward.cli, edgeward.commands.doctor") > ours


def test_a_model_without_captures_and_package_runs_without_their_modules(run_child):
    program = """
import numpy
import edgeward
with edgeward.load_unsigned(sys.argv[1]) as model:
    model.predict(numpy.zeros((1, 8, 8, 1), numpy.float32))
"""
    first = "import numpy, importlib.util"
    output = run_child(IMPORTED.format(first=first, then=program), DIGITS / "digits.tflite")
    ours = {name for name in json.loads(output) if name.partition(".")[0] == "edgeward"}
    assert "edgeward.model" in ours
    needless = ("edgeward.captures", "edgeward.packages", "edgeward.trust")
    assert [name for name in ours if name.startswith(needless)] == []


def test_every_public_name_is_there_whenever_it_is_asked_for(run_child):
    program = "import edgeward; print([name for name in {} if not hasattr(edgeward, name)])"
    assert run_child(program.format("edgeward.__all__")) == "[]\n"
    assert run_child(program.format("[*reversed(edgeward.__all__)]")) == "[]\n"
    assert set(ew.__all__) <= set(dir(ew))
    with pytest.raises(AttributeError, match="has no attribute 'Captur'"):
        _ = ew.Captur


def test_a_bare_import_brings_only_numpy_and_the_standard_library_besides(run_child):
    brought = modules_brought_by(run_child, "import edgeward", first="")
    tops = {name.partition(".")[0] for name in brought}
    assert "edgeward" in tops
    assert tops - set(sys.stdlib_module_names) - INTERPRETERS - {"numpy", "edgeward"} == set()


def test_loading_imports_no_engine(run_child, engine_name):
    program = """
import sys
import edgeward as ew
with ew.load_unsigned(sys.argv[2], engine=sys.argv[1]) as model:
    model.session().run()
engines = {"ai_edge_litert", "onnxruntime", "tflite_runtime", "tensorflow", "onnx"}
print(sorted(engines & set(sys.modules)))
"""
    suffix = "onnx" if engine_name == "onnx" else "tflite"
    # The Interpreter of ai-edge-litert is reached through its module alone.
    imported = ["ai_edge_litert"] if engine_name == "litert-interpreter" else []
    assert run_child(program, engine_name, DIGITS / f"digits.{suffix}") == f"{imported}\n"


ONNX_IN_USE = """
import os, sys
import numpy as np
import edgeward as ew
with open(sys.argv[1], "rb") as file:
    content = file.read()
image = np.zeros((1, 8, 8, 1), np.float32)
def thread_count():
    return len(os.listdir("/proc/self/task"))
before = thread_count()
models = [ew.load_unsigned(content, threads=1) for _ in range(3)]
for model in models:
    model.predict(image.reshape([max(dim, 1) for dim in model.inputs[0].shape]))
    model.session().run()
print(before, thread_count())
for model in models:
    model.close()
print(thread_count())
"""


def test_onnx_runtime_in_use_makes_no_file_and_no_thread(run_child, tmp_path):
    directories = {
        "HOME": tmp_path / "home",
        "XDG_CACHE_HOME": tmp_path / "cache",
        "XDG_CONFIG_HOME": tmp_path / "config",
        "XDG_DATA_HOME": tmp_path / "data",
        "XDG_STATE_HOME": tmp_path / "state",
        "XDG_RUNTIME_DIR": tmp_path / "run",
        "TMPDIR": tmp_path / "tmp",
    }
    for directory in directories.values():
        directory.mkdir()
    environment = {name: str(directory) for name, directory in directories.items()}
    # Unset, as for most users: the core must turn telemetry off by itself.
    environment["ORT_DISABLE_TELEMETRY"] = ""
    counts = run_child(
        "import os; del os.environ['ORT_DISABLE_TELEMETRY']\n" + ONNX_IN_USE,
        DIGITS / "digits.onnx",
        **environment,
    )
    before, during, after = map(int, counts.split())
    assert before == during == after
    files = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if not path.is_dir()]
    assert [str(path) for path in files] == ["cache/edgeward/engines.json"]


CYCLES = """
import gc, os, sys
import numpy as np
import edgeward as ew

engine_name, what, count, *paths = sys.argv[1:]
count = int(count)
content, dynamic, refused = (open(path, "rb").read() for path in paths)
image = np.zeros((1, 8, 8, 2), np.float32)
kept = ew.load_unsigned(dynamic, engine=engine_name)
session = kept.session()

def load():
    with ew.load_unsigned(content, engine=engine_name) as model:
        model.predict(image)
        model.session().run()

def forget():
    model = ew.load_unsigned(content, engine=engine_name)
    view = model.session().outputs["scores"]
    y = model.predict(image)

def refuse():
    for source in (refused, content[:-20], b"none"):
        try:
            ew.load_unsigned(source, engine=engine_name)
        except ew.EdgewardError:
            pass

def resize():
    for rows in (3, 1, 2):
        session.resize({"x": (rows, 4)})
        session.inputs["x"][:] = 1
        session.run()
        kept.predict(np.zeros((rows, 4), np.float32))

def mistake():
    for wrong in (np.zeros((0, 4), np.float32), np.zeros(4), None, "x"):
        for options in ({"x": wrong}, {"y": wrong}, {"x": wrong, "out": wrong}):
            try:
                kept.predict(**options)
            except ew.BadInput:
                pass

def predict():
    for _ in range(50):
        y = kept.predict(np.zeros((4, 4), np.float32)[::-1])
        kept.predict(memoryview(y), out=ew.empty((4, 4)))

def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

cycle = globals()[what]
for _ in range(count // 2):
    cycle()
gc.collect()
# From the least of some samples to the least of later ones: one may be high by chance.
def least(samples):
    lowest = None
    for _ in range(samples):
        cycle()
        now = resident_bytes()
        lowest = now if lowest is None else min(lowest, now)
    return lowest

descriptors, threads = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
first = least(50)
for _ in range(count):
    cycle()
middle = least(50)
for _ in range(count):
    cycle()
last = least(50)
print(len(os.listdir("/proc/self/fd")) - descriptors, len(os.listdir("/proc/self/task")) - threads)
# What is left behind grows in both halves, an arena of malloc's in one.
print(min(middle - first, last - middle) / (count + 50))
"""

COUNTS = {"load": 400, "forget": 400, "refuse": 400, "resize": 600, "mistake": 600, "predict": 200}


@pytest.mark.parametrize("what", COUNTS)
def test_a_cycle_leaves_nothing_behind(run_child, engine_name, tmp_path, what):
    models = models_of(engine_name)
    paths = []
    for name in ("conv", "dynamic_batch", "strings"):
        paths.append(tmp_path / name)
        paths[-1].write_bytes(getattr(models, name)())
    output = run_child(CYCLES, engine_name, what, COUNTS[what], *paths)
    descriptors, threads, slope = output.split()
    assert (int(descriptors), int(threads)) == (0, 0)
    assert float(slope) < 1024
