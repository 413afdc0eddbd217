"""What models hold in memory, as they say and as the kernel says, and budgets for it."""

import gc
import os
import pickle
import re
import threading

import numpy as np
import pytest
import sealed
from engines_here import ENGINES, models_of

import edgeward as ew
from edgeward import _core

FIELDS = ("file_bytes", "packed_bytes", "arenas_bytes", "outputs_bytes", "session_count")
WIDTH = 0.8  # of a mobilenet: 11 MB, and megabytes between its operators
SMALL_BYTES = 64 << 10

# What the kernel counts of this process besides files, and what the model says, in steps.
MEASURED = """
import sys
import numpy as np
import edgeward as ew

def held_bytes():
    fields = (line.split() for line in open("/proc/self/smaps_rollup"))
    sizes = {field[0]: int(field[1]) << 10 for field in fields if len(field) == 3}
    return sizes["Anonymous:"] + sizes.get("Pss_Shmem:", 0)

path, small, engine = sys.argv[1:]
with ew.load_unsigned(small, engine=engine, threads=1) as first:
    first.session().run()
before = held_bytes()
model = ew.load_unsigned(path, engine=engine, threads=1)
sessions = []

def show(step):
    print(step, held_bytes() - before, model.memory.total_bytes, model.memory.session_count)

show("loaded")
for step in ("one", "two", "three"):
    sessions.append(model.session())
    for array in sessions[-1].inputs.values():
        array[...] = 1
    sessions[-1].run()
    show(step)
kept = [model.predict(sessions[0].inputs[model.inputs[0].name].copy()) for _ in range(3)]
show("predicted")
for session in sessions:
    session.close()
del sessions, session, array
model.trim()
show("trimmed")
del kept
model.close()
show("closed")
"""


@pytest.fixture(scope="session")
def networks(tmp_path_factory):
    """By engine, the paths of a model that takes memory, and of one that takes none."""
    folder = tmp_path_factory.mktemp("networks")

    def paths(engine_name):
        models = models_of(engine_name)
        suffix = "onnx" if engine_name == "onnx" else "tflite"
        path, small = folder / f"model.{suffix}", folder / f"small.{suffix}"
        if not path.exists():
            path.write_bytes(models.mobilenet(WIDTH))
            small.write_bytes(models.add())
        return path, small

    return paths


def test_a_model_says_what_the_kernel_counts(networks, engine_name, run_child):
    path, small = networks(engine_name)
    rows = [line.split() for line in run_child(MEASURED, path, small, engine_name).splitlines()]
    steps = {step: tuple(map(int, numbers)) for step, *numbers in rows}
    counts = {
        "loaded": 1,
        "one": 1,
        "two": 2,
        "three": 3,
        "predicted": 4,
        "trimmed": 0,
        "closed": 0,
    }
    assert {step: count for step, (_, _, count) in steps.items()} == counts
    for step, (held, said, _) in steps.items():
        if step == "trimmed" and engine_name == "litert":
            continue  # nothing maps the packed weights, which smaps then leaves out
        assert abs(said - held) < (2 << 20) + 0.03 * held, (step, steps)
    assert steps["one"][1] > path.stat().st_size
    assert steps["closed"][1] == 0


def test_kinds_are_told_apart(networks, engine_name):
    path, _ = networks(engine_name)
    with ew.load_unsigned(path, engine=engine_name) as model:
        memory = model.memory
        is_copied = engine_name == "onnx"
        file_bytes = 0 if is_copied else path.stat().st_size
        assert file_bytes <= memory.file_bytes < file_bytes + 4096
        assert (memory.packed_bytes, memory.outputs_bytes) == (0, 0)
        assert memory.arenas_bytes > 0.9 * path.stat().st_size
        sessions = [model.session() for _ in range(2)]
        for session in sessions:
            session.run()
        memory = model.memory
        tensors = [*sessions[0].inputs.values(), *sessions[0].outputs.values()]
        assert memory.outputs_bytes == 2 * sum(tensor.nbytes for tensor in tensors)
        assert memory.session_count == 2


def test_results_count_while_they_are_kept(load):
    with load("add_150k") as model:
        x = np.zeros(model.inputs[0].shape, np.float32)
        kept = [model.predict(x) for _ in range(8)]
        held = model.memory.outputs_bytes
        assert held >= 8 * kept[0].nbytes
        size = kept[0].nbytes
        kept.clear()
        assert model.memory.outputs_bytes == held - 4 * size  # four stay for the next calls


def test_sessions_that_threads_make_at_once_count_once(networks, engine_name, run_child):
    path, small = networks(engine_name)
    program = MEASURED[: MEASURED.index("sessions = []")] + (
        "import threading\n"
        "x = np.ones(model.inputs[0].shape, np.float32)\n"
        "model.gil = 'release'\n"
        "barrier = threading.Barrier(4)\n"
        "def work():\n"
        "    barrier.wait()\n"
        "    for _ in range(3):\n"
        "        model.predict(x)\n"
        "threads = [threading.Thread(target=work) for _ in range(4)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(held_bytes() - before, model.memory.total_bytes, model.memory.packed_bytes)\n"
    )
    held, said, packed = map(int, run_child(program, path, small, engine_name).split())
    if engine_name == "litert" and os.cpu_count() > 1:
        assert path.stat().st_size <= packed < 1.1 * path.stat().st_size
    else:
        assert packed == 0
    assert abs(said - held) < (6 << 20) + 0.05 * held  # with what the threads themselves take


def test_a_report_is_a_value(load):
    with load("add") as model:
        memory = model.memory
    with pytest.raises(AttributeError):
        memory.file_bytes = 1
    copy = pickle.loads(pickle.dumps(memory))
    assert copy == memory
    assert hash(copy) == hash(memory)
    assert copy is not memory
    numbers = [getattr(memory, field) for field in FIELDS]
    assert memory.total_bytes == sum(numbers[:-1])
    assert repr(memory) == (
        f"MemoryReport({', '.join(f'{f}={n}' for f, n in zip(FIELDS, numbers, strict=True))})"
    )


def test_a_closed_model_holds_what_its_sessions_do(load):
    model = load("add")
    session = model.session()
    session.run()
    model.close()
    assert model.memory.session_count == 1
    session.close()
    assert (model.memory.session_count, model.memory.arenas_bytes) == (0, 0)


# --- budgets ---------------------------------------------------------------------------------


def held_bytes():
    """What models that other tests have left hold, to within 0.1 MiB."""
    gc.collect()
    try:
        _core.require_memory(1, 0)
    except ew.OverBudget as error:
        return int(float(re.search(r"([0-9.]+) MiB held", str(error))[1]) * 2**20)
    return 0


def needed_bytes(path, engine_name):
    with ew.load_unsigned(path, engine=engine_name, threads=1) as model:
        return model.memory.total_bytes


def test_a_model_within_the_budget_loads_and_one_beyond_is_refused(networks, engine_name):
    path, _ = networks(engine_name)
    needed = held_bytes() + needed_bytes(path, engine_name)
    ew.load_unsigned(path, engine=engine_name, threads=1, memory=needed + (2 << 20)).close()
    before = resident_bytes()
    with pytest.raises(ew.OverBudget, match=r"memory: expected at most .* MiB in the models"):
        ew.load_unsigned(path, engine=engine_name, threads=1, memory=needed - (2 << 20))
    assert resident_bytes() < before + (4 << 20)  # all is given back


def resident_bytes():
    with open("/proc/self/statm") as file:
        resident, shared = map(int, file.read().split()[1:3])
    return (resident - shared) * 4096


def test_a_file_beyond_the_budget_is_not_read(tmp_path):
    path = tmp_path / "model.tflite"
    with path.open("wb") as file:
        file.write(models_of("litert").add())
        file.truncate(1 << 40)
    with pytest.raises(ew.OverBudget, match=r"and at least 1048576\.0 MiB to come"):
        ew.load_unsigned(path, memory="1G")


def test_weights_that_would_be_packed_beyond_the_budget_are_not(networks):
    if "litert" not in ENGINES:
        pytest.skip("LiteRT is not installed")
    path, _ = networks("litert")
    size, others = path.stat().st_size, held_bytes()
    with pytest.raises(ew.OverBudget, match="held and at least") as refusal:
        ew.load_unsigned(path, engine="litert", memory=others + int(1.5 * size))
    held, coming = map(float, re.findall(r"([0-9.]+) MiB (?:held|to come)", str(refusal.value)))
    assert held == pytest.approx((others + size) / 2**20, abs=0.3)
    assert 0.9 * size < coming * 2**20 <= size


def test_all_models_of_the_process_count(networks, engine_name):
    path, small = networks(engine_name)
    needed = needed_bytes(path, engine_name)
    budget = held_bytes() + int(1.6 * needed)
    with ew.load_unsigned(path, engine=engine_name, threads=1, memory=budget):
        ew.load_unsigned(small, engine=engine_name, threads=1, memory=budget).close()
        with pytest.raises(ew.OverBudget):
            ew.load_unsigned(path, engine=engine_name, threads=1, memory=budget)
    ew.load_unsigned(path, engine=engine_name, threads=1, memory=budget).close()


def test_a_further_session_beyond_the_budget_is_refused_and_the_others_go_on(networks):
    if "litert-interpreter" not in ENGINES:
        pytest.skip("the Interpreter is not installed")
    path, _ = networks("litert-interpreter")
    options = {"engine": "litert-interpreter", "threads": 1}
    needed = needed_bytes(path, "litert-interpreter")
    with ew.load_unsigned(path, memory=held_bytes() + int(1.2 * needed), **options) as model:
        session = model.session()
        session.run()
        with pytest.raises(ew.OverBudget):
            model.session()
        assert model.memory.session_count == 1
        session.run()
        session.close()
        model.session().run()


def test_the_environment_has_a_budget_and_the_argument_goes_before_it(load, monkeypatch):
    monkeypatch.setenv("EDGEWARD_MEMORY", "1")
    with pytest.raises(ew.OverBudget):
        load("add")
    ew.load_unsigned(models_of("litert").add(), memory="1G").close()
    monkeypatch.setenv("EDGEWARD_MEMORY", "all")
    with pytest.raises(ew.BadInput, match="EDGEWARD_MEMORY"):
        load("add")


def test_a_package_beyond_the_budget_is_refused_before_its_payload_is_read(tmp_path):
    trust = sealed.trust_at(tmp_path / "trust")
    path = sealed.seal(tmp_path / "model.ewp", model=models_of("litert").dense(512))
    with pytest.raises(ew.OverBudget, match=r"MiB held and at least 1\.0 MiB to come"):
        ew.load(path, trust=trust, memory=held_bytes() + (1 << 20))
    ew.load(path, trust=trust, memory=held_bytes() + (16 << 20)).close()


def test_memory_is_asked_while_threads_predict(load):
    with load("add_150k") as model:
        x = np.zeros(model.inputs[0].shape, np.float32)
        threads = [
            threading.Thread(target=lambda: [model.predict(x) for _ in range(50)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert model.memory.total_bytes >= model.memory.arenas_bytes >= 0
        for thread in threads:
            thread.join()
