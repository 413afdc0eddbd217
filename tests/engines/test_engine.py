"""Finding engines, choosing one, probing it, remembering the verdict, and counting processors."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import fakes
import pytest
from models import onnx_models, tflite_models

import edgeward as ew
from edgeward import _core
from edgeward.engines import engine
from edgeward.engines.engine import Installed, Verdict
from edgeward.errors import BadInput, EngineMismatch, EngineMissing

ROOT = Path(__file__).parents[2]
RAN = Verdict(True, "ran a small model")
NO_INSTRUCTION = "the wheel uses instructions this CPU lacks"


@pytest.fixture
def site(monkeypatch, tmp_path):
    return fakes.lone_site(monkeypatch, tmp_path / "site")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """The cache file of a user who has none yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "edgeward" / "engines.json"


@pytest.fixture
def here(tmp_path):
    """An engine whose library is an empty file."""
    library = tmp_path / "libLiteRt.so"
    library.touch()
    return Installed("litert", "ai-edge-litert", "2.3.0", str(library))


@pytest.fixture
def probed(monkeypatch):
    """The engines that a probe was asked about, which approves of all."""
    asked = []

    def probe(candidate):
        asked.append(candidate)
        return RAN

    monkeypatch.setattr(engine, "probe", probe)
    return asked


# --- Finding --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", engine.KINDS)
def test_an_engine_is_found_in_its_wheel_without_being_imported(site, name):
    library = fakes.install(site, name, "7.8.9")
    assert engine.installed(name) == (name, engine.KINDS[name].package, "7.8.9", str(library))


def test_a_distribution_of_another_name_is_found_by_its_module(site):
    fakes.install(site, "onnx", "1.32.0", package="onnxruntime-gpu")
    (site / "onnxruntime_extensions-0.14.0.dist-info").mkdir()
    (site / "onnxruntime_extensions-0.14.0.dist-info" / "RECORD").write_text("other/__init__.py,,")
    assert engine.installed("onnx")[:3] == ("onnx", "onnxruntime-gpu", "1.32.0")


@pytest.mark.parametrize("name", engine.KINDS)
def test_an_engine_that_is_not_installed_is_missing_and_the_message_says_what_to_type(site, name):
    with pytest.raises(EngineMissing, match=re.escape(engine.KINDS[name].install)):
        engine.installed(name)
    assert engine.KINDS[name].install.startswith("pip install ")


def test_a_directory_that_only_has_the_name_of_an_engine_is_not_one(site):
    (site / "onnxruntime").mkdir()
    with pytest.raises(EngineMissing, match="not installed"):
        engine.installed("onnx")


def test_a_wheel_without_the_library_is_a_mismatch(site):
    fakes.install(site, "litert", "1.0.1").unlink()
    expected = r"expected libLiteRt.so of ai-edge-litert >=2.2,<2.4, got none"
    with pytest.raises(EngineMismatch, match=expected):
        engine.installed("litert")


def test_a_library_that_no_distribution_lists_is_a_mismatch(site):
    fakes.install(site, "litert", "2.3.0")
    record = site / "ai_edge_litert-2.3.0.dist-info" / "RECORD"
    record.write_text("ai_edge_litert/__init__.py,,\nai_edge_litert/libLiteRt.so.debug,,\n")
    with pytest.raises(EngineMismatch, match="which no installed distribution lists"):
        engine.installed("litert")


def test_a_name_that_is_no_engine_is_bad_input():
    with pytest.raises(BadInput, match='engine: expected litert, onnx, tflite, got "torch"'):
        engine.installed("torch")


def test_all_installed_leaves_out_what_is_missing_or_broken(site):
    assert engine.all_installed() == ()
    fakes.install(site, "tflite", "2.14.0")
    fakes.install(site, "onnx", "1.32.0")
    fakes.install(site, "litert", "1.0.1").unlink()
    assert [found.name for found in engine.all_installed()] == ["onnx", "tflite"]


# --- Choosing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model_format", "requested", "present", "chosen"),
    [
        ("tflite", None, ("litert", "onnx", "tflite"), "litert"),
        ("tflite", None, ("onnx", "tflite"), "tflite"),
        ("tflite", "tflite", ("litert", "tflite"), "tflite"),
        ("tflite", "litert", ("litert", "tflite"), "litert"),
        ("onnx", None, ("litert", "onnx"), "onnx"),
        ("ort", None, ("litert", "onnx"), "onnx"),
        ("ort", "onnx", ("onnx",), "onnx"),
    ],
)
def test_the_engine_is_the_requested_one_or_the_first_that_is_here(
    site, model_format, requested, present, chosen
):
    for name in present:
        fakes.install(site, name, "7.8.9")
    assert engine.choose(model_format, requested).name == chosen


@pytest.mark.parametrize(
    ("model_format", "requested", "command"),
    [
        ("tflite", None, "pip install ai-edge-litert"),
        ("tflite", "tflite", "pip install edgeward[tflite]"),
        ("onnx", None, "pip install edgeward[onnx]"),
        ("ort", "onnx", "pip install edgeward[onnx]"),
    ],
)
def test_without_an_engine_the_message_says_what_to_install(site, model_format, requested, command):
    with pytest.raises(EngineMissing, match=re.escape(command)):
        engine.choose(model_format, requested)


@pytest.mark.parametrize(
    ("model_format", "requested", "message"),
    [
        ("onnx", "litert", 'engine "litert": expected a .tflite model, got .onnx'),
        ("ort", "tflite", 'engine "tflite": expected a .tflite model, got .ort'),
        ("tflite", "onnx", 'engine "onnx": expected a .onnx or .ort model, got .tflite'),
        ("tflite", "torch", 'engine: expected litert, onnx, tflite, got "torch"'),
    ],
)
def test_an_engine_that_cannot_run_the_format_is_bad_input(model_format, requested, message):
    with pytest.raises(BadInput, match=re.escape(message)):
        engine.choose(model_format, requested)


@pytest.mark.parametrize(
    ("name", "version", "is_supported"),
    [
        ("litert", "2.1.6", False),
        ("litert", "2.2", True),
        ("litert", "2.3.0", True),
        ("litert", "2.3.0rc1", True),
        ("litert", "2.4.0.dev20260801", False),
        ("litert", "2.10.0", False),
        ("onnx", "1.9.0", False),
        ("onnx", "1.22.1", False),
        ("onnx", "1.23.2+cu12", True),
        ("onnx", "1.100", True),
        ("onnx", "2.0.0", False),
        ("tflite", "2.13.0", False),
        ("tflite", "2.14.0", True),
        ("tflite", "2.15.0", False),
        ("tflite", "nightly", False),
    ],
)
def test_a_version_is_supported_inside_the_range(name, version, is_supported):
    assert engine.KINDS[name].supports(version) is is_supported


@pytest.mark.parametrize("name", engine.KINDS)
def test_the_core_refuses_versions_outside_the_same_range(name):
    source = (ROOT / "cpp" / "engines" / f"{name}.cc").read_text()
    bounds = re.search(r'require_version\("([\w-]+)", version, \{(.+?)\}, \{(.+?)\}\)', source)
    assert bounds, f"cpp/engines/{name}.cc checks no version"
    package, lowest, below = bounds.groups()
    kind = engine.KINDS[name]
    assert package == kind.package
    assert [lowest, below] == [
        ", ".join([*version.split("."), "0"][:2]) for version in (kind.lowest, kind.below)
    ]


@pytest.mark.parametrize("name", engine.KINDS)
def test_pip_installs_versions_of_the_same_range(name):
    kind = engine.KINDS[name]
    requirements = re.findall(rf'"{kind.package}([^;"]+)', (ROOT / "pyproject.toml").read_text())
    assert requirements, f"pyproject.toml does not name {kind.package}"
    for requirement in requirements:
        is_exact = requirement.startswith("==") and kind.supports(requirement[2:])
        assert is_exact or requirement == kind.supported


# --- Probing --------------------------------------------------------------------------------------


def test_every_installed_engine_runs_the_probe_model(cache):
    found = engine.all_installed()
    assert found, "no engine is installed"
    assert {one.name: engine.probe(one) for one in found} == {one.name: RAN for one in found}
    assert not cache.exists(), "the probe's child probed by itself"


@pytest.mark.parametrize(
    ("fake", "name", "reason"),
    [
        ("crash_at_load", "litert", f"killed by SIGILL: {NO_INSTRUCTION}"),
        ("exit_at_load", "litert", "status 0 before it ran a model (ran a small model)"),
        ("needs_newer_libc", "onnx", "needs GLIBC 2.99, but libc.so.6 on this system is glibc"),
        ("litert_missing_symbol", "litert", "expected the symbol LiteRtRunCompiledModel, got none"),
        ("litert_old", "litert", "expected the symbol LiteRtCreateModelFromFd, got none"),
        ("onnx_old", "onnx", "expected API version 18, got a library that does not serve it"),
    ],
)
def test_a_broken_engine_gets_a_verdict_that_says_why(fake, name, reason):
    version = engine.KINDS[name].lowest
    verdict = engine.probe(Installed(name, "fake", version, str(fakes.libraries()[fake])))
    assert not verdict.is_usable
    assert reason in verdict.reason


def test_a_probe_imports_nothing_from_the_directory_it_is_started_in(monkeypatch, tmp_path):
    (tmp_path / "json.py").write_text("raise AssertionError('a stranger was imported')")
    monkeypatch.chdir(tmp_path)
    assert engine.probe(engine.all_installed()[0]) == RAN


def test_an_engine_that_never_answers_gets_a_verdict(monkeypatch):
    monkeypatch.setattr(engine, "PROBE_LIMIT_S", 0.25)
    library = str(fakes.libraries()["hang_at_load"])
    verdict = engine.probe(Installed("litert", "fake", "2.3.0", library))
    assert verdict == (False, "did not finish a small model within 0.25 s")


@pytest.mark.parametrize("executable", ["", None, "/usr/sbin/uwsgi"])
def test_an_embedded_interpreter_starts_no_child(monkeypatch, here, executable):
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(subprocess, "run", None)
    assert engine.probe(here) == (
        True,
        "taken on trust: this program has no Python to start for a probe",
    )


def test_where_no_child_can_be_started_the_engine_is_taken_on_trust(monkeypatch, here, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    verdict = engine.probe(here)
    assert verdict.is_usable
    assert verdict.reason.startswith("taken on trust: no probe could be started")


@pytest.mark.parametrize(
    ("returncode", "answer", "noise", "verdict"),
    [
        (0, "opening\nran a small model\n", "INFO: hello", RAN),
        (1, "", "no module", (True, "taken on trust: the probe did not start (no module)")),
        (
            -9,
            "opening\n",
            "",
            (False, "killed by SIGKILL: out of memory, or stopped from outside"),
        ),
        (-6, "opening\n", "one\ntwo\n", (False, "killed by SIGABRT: two")),
        (-11, "opening\n", "", (False, "killed by SIGSEGV: it touched memory that is not its own")),
        (-4, "opening\nran a small model\n", "", (False, f"killed by SIGILL: {NO_INSTRUCTION}")),
        (-40, "opening\n", "", (False, "killed by signal 40: it printed nothing")),
        (1, "opening\nlitert: status 3\n", "Traceback", (False, "litert: status 3")),
        (7, "opening\n", "bye", (False, "ended with status 7 before it ran a model (bye)")),
        (
            7,
            "opening\nran a small model\n",
            "bye",
            (False, "ended with status 7 after it ran a model (bye)"),
        ),
    ],
)
def test_the_end_of_a_probe_is_explained(returncode, answer, noise, verdict):
    assert engine.judge(returncode, answer, noise) == verdict


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            "x: /lib/libstdc++.so.6: version `GLIBCXX_3.4.32' not found (required by /a/b.so)",
            "needs GLIBCXX 3.4.32, but libstdc++.so.6 on this system is older",
        ),
        ("libgomp.so.1: cannot open", "libgomp.so.1: cannot open"),
    ],
)
def test_what_the_loader_says_is_made_a_sentence(message, sentence):
    assert engine.explained(message) == sentence


@pytest.mark.parametrize(
    ("fake", "name", "version", "reason"),
    [
        ("crash_at_load", "litert", "2.3.0", "killed by SIGILL"),
        ("litert_address", "litert", "2.1.6", "got 2.1.6"),
        ("litert_missing_symbol", "litert", "2.3.0", "LiteRtRunCompiledModel"),
        ("litert_old", "litert", "2.3.0", "LiteRtCreateModelFromFd"),
        ("onnx_old", "onnx", "1.32.0", "API version 18"),
        ("onnx_address", "onnx", "2.0.0", "got 2.0.0"),
    ],
)
def test_loading_a_model_on_a_broken_engine_is_a_mismatch(
    monkeypatch, tmp_path, fake, name, version, reason
):
    site = fakes.site(monkeypatch, tmp_path / "site")
    fakes.install(site, name, version, fakes.libraries()[fake].read_bytes())
    models = {"litert": tflite_models, "onnx": onnx_models}
    with pytest.raises(EngineMismatch, match=re.escape(reason)) as raised:
        ew.load_unsigned(models[name].add())
    assert f"{engine.KINDS[name].package} {version}" in str(raised.value)


@pytest.mark.parametrize(
    ("fake", "name", "reason"),
    [
        ("litert_missing_symbol", "litert", "expected the symbol LiteRtRunCompiledModel, got none"),
        ("litert_old", "litert", "expected the symbol LiteRtCreateModelFromFd, got none"),
        ("onnx_old", "onnx", "expected API version 18"),
    ],
)
def test_the_core_refuses_a_broken_engine_by_itself(fake, name, reason):
    models = {"litert": tflite_models, "onnx": onnx_models}
    version = engine.KINDS[name].lowest
    with pytest.raises(EngineMismatch, match=reason):
        _core.open_model(models[name].add(), name, str(fakes.libraries()[fake]), version, 1)


def test_the_core_says_what_the_loader_said_of_a_library_it_cannot_open(tmp_path):
    with pytest.raises(EngineMissing, match="cannot open shared object file"):
        _core.open_model(tflite_models.add(), "litert", str(tmp_path / "no_such.so"), "2.3.0", 1)


# --- Remembering ----------------------------------------------------------------------------------


def test_a_good_verdict_is_remembered(here, probed, cache):
    engine.ensure_usable(here)
    assert list(json.loads(cache.read_text())) == [here.library]
    engine.ensure_usable(here)
    assert probed == [here]


def change_size(library, monkeypatch):
    modified_ns = os.stat(library).st_mtime_ns
    Path(library).write_bytes(b"other")
    os.utime(library, ns=(0, modified_ns))


def change_time(library, monkeypatch):
    os.utime(library, ns=(0, 1))


def change_cpu(library, monkeypatch):
    monkeypatch.setattr(engine, "cpu_flags", lambda: "sse2")


def change_core(library, monkeypatch):
    monkeypatch.setattr(_core, "__file__", __file__)


@pytest.mark.parametrize("change", [change_size, change_time, change_cpu, change_core])
def test_a_verdict_holds_for_one_library_core_and_cpu(monkeypatch, here, probed, change):
    engine.ensure_usable(here)
    change(here.library, monkeypatch)
    engine.ensure_usable(here)
    assert probed == [here, here]


def test_a_verdict_holds_for_one_version(here, probed):
    engine.ensure_usable(here)
    engine.ensure_usable(here._replace(version="2.2.0"))
    assert len(probed) == 2


def test_a_bad_verdict_is_a_mismatch_and_is_asked_for_again(monkeypatch, here, cache):
    monkeypatch.setattr(engine, "probe", lambda candidate: Verdict(False, "killed by SIGILL"))
    message = f"engine litert: ai-edge-litert 2.3.0 at {here.library}: killed by SIGILL"
    with pytest.raises(EngineMismatch, match=f"^{re.escape(message)}$"):
        engine.ensure_usable(here)
    assert not cache.exists()


def test_trust_is_not_remembered(monkeypatch, here, cache):
    monkeypatch.setattr(
        engine, "probe", lambda candidate: Verdict(True, "taken on trust: no child")
    )
    engine.ensure_usable(here)
    assert not cache.exists()


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"null", b'{"x": 1}', b"\xff\xfe", b"[" * 100_000],
    ids=lambda damage: repr(damage[:8]),
)
def test_a_damaged_cache_is_replaced(here, probed, cache, damage):
    cache.parent.mkdir(parents=True)
    cache.write_bytes(damage)
    engine.ensure_usable(here)
    engine.ensure_usable(here)
    assert probed == [here]


def test_a_cache_that_cannot_be_written_is_left_alone(monkeypatch, here, probed, tmp_path):
    (tmp_path / "a file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a file"))
    engine.ensure_usable(here)
    assert probed == [here]


def test_a_cache_whose_place_is_taken_is_left_alone(here, probed, cache):
    cache.mkdir(parents=True)
    engine.ensure_usable(here)
    assert probed == [here]
    assert [path.name for path in cache.parent.iterdir()] == ["engines.json"]


def test_without_xdg_the_cache_is_in_the_home_directory(monkeypatch, here, probed, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    engine.ensure_usable(here)
    assert (tmp_path / "home" / ".cache" / "edgeward" / "engines.json").exists()


def test_libraries_that_are_gone_are_forgotten(here, probed, cache, tmp_path):
    other_library = tmp_path / "other.so"
    other_library.touch()
    other = here._replace(library=str(other_library))
    engine.ensure_usable(other)
    engine.ensure_usable(here)
    assert list(json.loads(cache.read_text())) == [other.library, here.library]
    other_library.unlink()
    engine.ensure_usable(here._replace(version="2.2.0"))
    assert list(json.loads(cache.read_text())) == [here.library]


# --- Processors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "files"),
    [
        ("0::/\n", [("/sys/fs/cgroup/cpu.max",)]),
        (
            "0::/a/b\n",
            [
                ("/sys/fs/cgroup/a/b/cpu.max",),
                ("/sys/fs/cgroup/a/cpu.max",),
                ("/sys/fs/cgroup/cpu.max",),
            ],
        ),
        (
            "3:cpuset:/x\n2:cpu,cpuacct:/c\n",
            [
                ("/sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/c/cpu.cfs_period_us"),
                ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
            ],
        ),
        ("", []),
    ],
)
def test_quotas_are_looked_for_in_every_group_above_the_process(groups, files):
    assert engine.quota_files(groups) == files


@pytest.mark.parametrize(
    ("affinity_count", "quotas", "count"),
    [
        (8, [], 8),
        (8, ["max 100000\n"], 8),
        (8, ["-1\n 100000\n"], 8),
        (8, ["", "400000 100000\n"], 4),
        (8, ["200000\n 100000\n"], 2),
        (8, ["150000 100000\n"], 1),
        (8, ["50000 100000\n"], 1),
        (8, ["600000 100000\n", "300000 100000\n", "max 100000\n"], 3),
        (2, ["600000 100000\n"], 2),
        (8, ["100000 0\n"], 8),
        (8, ["400000"], 8),
    ],
)
def test_processors_are_counted_within_every_quota(affinity_count, quotas, count):
    assert engine.cpus_within(affinity_count, quotas) == count


def test_usable_cpus_are_within_the_affinity():
    assert 1 <= engine.usable_cpus() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("cpus", "size_bytes", "threads"),
    [(1, 1 << 30, 1), (2, 1 << 20, 2), (4, 1 << 30, 4), (64, 1 << 30, 4), (64, (1 << 20) - 1, 1)],
)
def test_small_models_get_one_thread_and_others_a_few(cpus, size_bytes, threads):
    assert engine.default_threads(cpus, size_bytes) == threads
