"""Engines probed in a child process, and the verdict remembered."""

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
from edgeward.engines import installed, probe
from edgeward.engines.installed import Installed
from edgeward.engines.probe import Verdict
from edgeward.errors import EngineMismatch, EngineMissing

RAN = Verdict(True, "ran a small model")
NO_INSTRUCTION = "the wheel uses instructions this CPU lacks"


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """The cache file of a user who has none yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
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

    def approve(candidate):
        asked.append(candidate)
        return RAN

    monkeypatch.setattr(probe, "probe", approve)
    return asked


def test_every_installed_engine_runs_the_probe_model(cache):
    engines = installed.all_installed()
    assert engines, "no engine is installed"
    assert [probe.probe(engine) for engine in engines] == [RAN] * len(engines)
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
    version = installed.KINDS[name].lowest
    verdict = probe.probe(Installed(name, "fake", version, str(fakes.libraries()[fake])))
    assert not verdict.is_usable
    assert reason in verdict.reason


def test_a_probe_imports_nothing_from_the_directory_it_is_started_in(monkeypatch, tmp_path):
    (tmp_path / "json.py").write_text("raise AssertionError('a stranger was imported')")
    monkeypatch.chdir(tmp_path)
    assert probe.probe(installed.all_installed()[0]) == RAN


def test_an_engine_that_never_answers_gets_a_verdict(monkeypatch):
    monkeypatch.setattr(probe, "PROBE_LIMIT_S", 0.25)
    library = str(fakes.libraries()["hang_at_load"])
    verdict = probe.probe(Installed("litert", "fake", "2.3.0", library))
    assert verdict == (False, "did not finish a small model within 0.25 s")


@pytest.mark.parametrize("executable", ["", None, "/usr/sbin/uwsgi"])
def test_an_embedded_interpreter_starts_no_child(monkeypatch, here, executable):
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(subprocess, "run", None)
    assert probe.probe(here) == (
        True,
        "taken on trust: this program has no Python to start for a probe",
    )


def test_where_no_child_can_be_started_the_engine_is_taken_on_trust(monkeypatch, here, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    verdict = probe.probe(here)
    assert verdict.is_usable
    assert verdict.reason.startswith("taken on trust: no probe could be started")


@pytest.mark.parametrize(
    ("returncode", "answer", "noise", "verdict"),
    [
        (0, "opening\nran a small model\n", "INFO: hello", RAN),
        (1, "", "no module", (True, "taken on trust: the probe did not start (no module)")),
        (0, "hello\n", "", (True, "taken on trust: the probe did not start (it printed nothing)")),
        (0, "hello\nopening\nran a small model\n", "", RAN),
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
    assert probe.judge(returncode, answer, noise) == verdict


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
    assert probe.explained(message) == sentence


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
    assert f"{installed.KINDS[name].package} {version}" in str(raised.value)


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
    version = installed.KINDS[name].lowest
    opening = _core.make_opening(name, str(fakes.libraries()[fake]), version, 1)
    with pytest.raises(EngineMismatch, match=reason):
        _core.open_model(models[name].add(), opening)


def test_the_core_says_what_the_loader_said_of_a_library_it_cannot_open(tmp_path):
    opening = _core.make_opening("litert", str(tmp_path / "no_such.so"), "2.3.0", 1)
    with pytest.raises(EngineMissing, match="cannot open shared object file"):
        _core.open_model(tflite_models.add(), opening)


def test_a_good_verdict_is_remembered(here, probed, cache):
    probe.ensure_usable(here)
    assert list(json.loads(cache.read_text())) == [here.library]
    probe.ensure_usable(here)
    assert probed == [here]


def change_size(library, monkeypatch):
    modified_ns = os.stat(library).st_mtime_ns
    Path(library).write_bytes(b"other")
    os.utime(library, ns=(0, modified_ns))


def change_time(library, monkeypatch):
    os.utime(library, ns=(0, 1))


def change_cpu(library, monkeypatch):
    monkeypatch.setattr(probe, "cpu_flags", lambda: "sse2")


def change_core(library, monkeypatch):
    monkeypatch.setattr(_core, "__file__", __file__)


@pytest.mark.parametrize("change", [change_size, change_time, change_cpu, change_core])
def test_a_verdict_holds_for_one_library_core_and_cpu(monkeypatch, here, probed, change):
    probe.ensure_usable(here)
    change(here.library, monkeypatch)
    probe.ensure_usable(here)
    assert probed == [here, here]


def test_a_verdict_holds_for_one_version(here, probed):
    probe.ensure_usable(here)
    probe.ensure_usable(here._replace(version="2.2.0"))
    assert len(probed) == 2


def test_a_bad_verdict_is_a_mismatch_and_is_asked_for_again(monkeypatch, here, cache):
    monkeypatch.setattr(probe, "probe", lambda candidate: Verdict(False, "killed by SIGILL"))
    message = f"engine litert: ai-edge-litert 2.3.0 at {here.library}: killed by SIGILL"
    with pytest.raises(EngineMismatch, match=f"^{re.escape(message)}$"):
        probe.ensure_usable(here)
    assert not cache.exists()


def test_trust_is_not_remembered(monkeypatch, here, cache):
    monkeypatch.setattr(probe, "probe", lambda candidate: Verdict(True, "taken on trust: no child"))
    probe.ensure_usable(here)
    assert not cache.exists()


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"null", b'{"x": 1}', b"\xff\xfe", b"[" * 100_000],
    ids=lambda damage: repr(damage[:8]),
)
def test_a_damaged_cache_is_replaced(here, probed, cache, damage):
    cache.parent.mkdir(parents=True)
    cache.write_bytes(damage)
    probe.ensure_usable(here)
    probe.ensure_usable(here)
    assert probed == [here]


def test_a_cache_that_cannot_be_written_is_left_alone(monkeypatch, here, probed, tmp_path):
    (tmp_path / "a file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a file"))
    probe.ensure_usable(here)
    assert probed == [here]


def test_a_cache_whose_place_is_taken_is_left_alone(here, probed, cache):
    cache.mkdir(parents=True)
    probe.ensure_usable(here)
    assert probed == [here]
    assert [path.name for path in cache.parent.iterdir()] == ["engines.json"]


def test_without_xdg_the_cache_is_in_the_home_directory(monkeypatch, here, probed, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    probe.ensure_usable(here)
    assert (tmp_path / "home" / ".cache" / "edgeward" / "engines.json").exists()


@pytest.mark.parametrize("home", ["/dev/null", ""])
def test_a_service_without_a_home_has_its_verdicts_in_its_run_time_directory(
    monkeypatch, here, probed, tmp_path, home
):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", home)
    monkeypatch.setattr(os.path, "expanduser", lambda path: home or path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    probe.ensure_usable(here)
    probe.ensure_usable(here)
    assert probed == [here]
    cache = tmp_path / "edgeward" / "engines.json"
    assert list(json.loads(cache.read_text())) == [here.library]
    assert cache.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("runtime", ["", "not/absolute", "/no/such/directory", "another's"])
def test_without_a_place_each_load_probes(monkeypatch, here, probed, tmp_path, runtime):
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    if runtime == "another's":
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    probe.ensure_usable(here)
    probe.ensure_usable(here)
    assert probed == [here, here]
    assert not (tmp_path / "edgeward").exists()


def test_libraries_that_are_gone_are_forgotten(here, probed, cache, tmp_path):
    other_library = tmp_path / "other.so"
    other_library.touch()
    other = here._replace(library=str(other_library))
    probe.ensure_usable(other)
    probe.ensure_usable(here)
    assert list(json.loads(cache.read_text())) == [other.library, here.library]
    other_library.unlink()
    probe.ensure_usable(here._replace(version="2.2.0"))
    assert list(json.loads(cache.read_text())) == [here.library]


def test_a_frozen_program_is_not_started_for_a_probe(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert probe.probe(
        Installed("litert", "ai-edge-litert", "2.3.0", "no_such.so")
    ).reason.startswith("taken on trust: this program has no Python")


@pytest.mark.parametrize(("mark", "starts"), [("sys.frozen = True", 1), ("pass", 2)])
def test_a_program_that_is_its_own_python_does_not_start_itself_without_end(tmp_path, mark, starts):
    """As a frozen program that is called python: it runs itself, whatever its arguments say."""
    app, program, log = tmp_path / "app.py", tmp_path / "python-app", tmp_path / "starts.txt"
    model = Path(ew.__file__).parent / "digits" / "digits.tflite"
    app.write_text(
        f"import sys; open({str(log)!r}, 'a').write('.'); sys.executable = {str(program)!r}\n"
        f"sys.path[:] = {sys.path!r}\n{mark}\n"
        f"import edgeward as ew; print(ew.load_unsigned({str(model)!r}, engine='litert').threads)\n"
    )
    program.write_text(f"#!/bin/sh\nexec {sys.executable} {app}\n")
    program.chmod(0o755)
    subprocess.run([str(program)], check=True, timeout=60)
    assert len(log.read_text()) == starts


def test_a_program_without_an_environment_loads_a_model():
    program = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "import edgeward as ew\n"
        "from edgeward.engines import installed\n"
        "from importlib.resources import files\n"
        "engine = installed.all_installed()[0]\n"
        "kind = installed.KINDS[engine.name].formats[0]\n"
        "model = ew.load_unsigned(files('edgeward') / 'digits' / f'digits.{kind}')\n"
        "assert model.predict(ew.empty((1, 8, 8, 1))).shape == (1, 10)"
    )
    subprocess.run([sys.executable, "-c", program], env={}, check=True, timeout=60)


def test_a_probe_starts_no_other(monkeypatch):
    monkeypatch.setenv(probe.PROBING, "1")
    assert (
        probe.probe(Installed("litert", "ai-edge-litert", "2.3.0", "no_such.so")).reason
        == "taken on trust: a probe starts no other"
    )
