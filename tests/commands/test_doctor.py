"""The doctor's report: what it finds, and the advice it draws from that."""

import json

import fakes
import pytest
from models import tflite_models

from edgeward.commands import doctor
from edgeward.engines import installed, probe
from edgeward.engines.probe import Verdict

RAN = Verdict(True, "ran a small model")


@pytest.fixture
def site(monkeypatch, tmp_path):
    return fakes.lone_site(monkeypatch, tmp_path / "site")


@pytest.fixture
def verdicts(monkeypatch):
    """What a probe finds out, by engine."""
    by_engine = {}
    monkeypatch.setattr(probe, "probe", lambda candidate: by_engine[candidate.name])
    return by_engine


def test_the_report_is_plain_and_says_which_engines_run_here():
    report = doctor.report()
    assert json.loads(json.dumps(report)) == report
    assert [finding["name"] for finding in report["engines"]] == list(installed.KINDS)
    usable = {finding["name"] for finding in report["engines"] if finding["is_usable"]}
    assert usable == {engine.name for engine in installed.all_installed()}
    assert report["is_ready"] is bool(usable)
    assert 1 <= report["usable_cpu_count"] <= report["cpu_count"]


def test_the_page_holds_every_finding_and_ends_with_the_advice(site, verdicts):
    fakes.install(site, "litert", "2.3.0")
    fakes.install(site, "onnx", "1.32.0", package="onnxruntime-gpu")
    verdicts.update(litert=Verdict(False, "killed by SIGILL: too old a CPU"), onnx=RAN)
    report = doctor.report()
    page = doctor.text(report)
    for finding in report["engines"]:
        for key in ("name", "title", "version", "library", "advice"):
            assert finding[key] in page
    assert "killed by SIGILL: too old a CPU" in page
    assert page.splitlines()[-1] == report["advice"]


def test_a_model_says_what_a_record_takes(typed, monkeypatch, tmp_path):
    monkeypatch.setattr(probe, "probe", lambda _: RAN)
    (tmp_path / "model.tflite").write_bytes(tflite_models.sum_product())
    _, out, _ = typed(f"doctor --model {tmp_path}/model.tflite")
    assert " records of 64 B" in out  # two inputs and two outputs of four floats


def test_a_usable_engine_is_found_where_it_is_and_needs_nothing(site, verdicts):
    library = fakes.install(site, "onnx", "1.32.0", package="onnxruntime-gpu")
    verdicts["onnx"] = RAN
    assert doctor.finding("onnx") == {
        "name": "onnx",
        "title": "ONNX Runtime",
        "is_installed": True,
        "package": "onnxruntime-gpu",
        "version": "1.32.0",
        "library": str(library),
        "supported": ">=1.23,<2",
        "is_usable": True,
        "verdict": "ran a small model",
        "advice": "nothing to do",
    }


def test_an_engine_that_is_not_installed_is_advised_to_be(site):
    finding = doctor.finding("onnx")
    assert not finding["is_installed"]
    assert not finding["is_usable"]
    assert finding["advice"] == "pip install edgeward[onnx]"


@pytest.mark.parametrize(
    ("version", "advice"),
    [
        ("2.3.0", "try another version, within ai-edge-litert>=2.2,<2.4"),
        ("2.9.0", 'pip install "ai-edge-litert>=2.2,<2.4"'),
    ],
)
def test_an_engine_that_does_not_run_gets_a_remedy(site, verdicts, version, advice):
    fakes.install(site, "litert", version)
    verdicts["litert"] = Verdict(False, "killed by SIGILL")
    finding = doctor.finding("litert")
    assert (finding["is_installed"], finding["is_usable"]) == (True, False)
    assert finding["verdict"] == "killed by SIGILL"
    assert finding["advice"] == advice


def test_a_wheel_without_its_library_gets_a_remedy(site):
    fakes.install(site, "litert", "1.0.1").unlink()
    finding = doctor.finding("litert")
    assert (finding["is_installed"], finding["is_usable"]) == (True, False)
    assert "expected libLiteRt.so" in finding["verdict"]
    assert finding["advice"] == 'pip install "ai-edge-litert>=2.2,<2.4"'


@pytest.mark.parametrize(
    ("wheels", "runs", "advice"),
    [
        (
            {"litert": "2.3.0", "onnx": "1.32.0", "tflite": "2.14.0"},
            {"litert", "onnx", "tflite"},
            "Ready: .tflite runs on LiteRT 2.3.0; .onnx runs on ONNX Runtime 1.32.0",
        ),
        (
            {"litert": "2.3.0"},
            {"litert"},
            "Ready: .tflite runs on LiteRT 2.3.0; for .onnx: pip install edgeward[onnx]",
        ),
        (
            {"litert": "2.3.0", "tflite": "2.14.0"},
            {"tflite"},
            "Ready: .tflite runs on tflite-runtime 2.14.0; for .onnx: pip install edgeward[onnx]",
        ),
        (
            {"litert": "2.3.0", "onnx": "2.1.0"},
            {"litert"},
            'Ready: .tflite runs on LiteRT 2.3.0; for .onnx: pip install "onnxruntime>=1.23,<2"',
        ),
        (
            {},
            set(),
            "Not ready: for .tflite: pip install ai-edge-litert (where it has no wheel: "
            "pip install edgeward[tflite]); for .onnx: pip install edgeward[onnx]",
        ),
    ],
)
def test_the_advice_is_one_sentence_about_both_formats(site, verdicts, wheels, runs, advice):
    for name, version in wheels.items():
        fakes.install(site, name, version)
        verdicts[name] = RAN if name in runs else Verdict(False, "killed by SIGILL")
    report = doctor.report()
    assert report["advice"] == advice
    assert report["is_ready"] is bool(runs)


def test_the_note_on_telemetry_is_there_when_its_engine_is(site, verdicts):
    assert doctor.report()["notes"] == []
    fakes.install(site, "onnx", "1.32.0")
    verdicts["onnx"] = RAN
    assert len(doctor.report()["notes"]) == 1


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [({"model name": "Intel(R) Xeon(R)"}, "Intel(R) Xeon(R)"), ({"model name": ""}, "")],
)
def test_the_processor_is_named_as_the_kernel_names_it(cpuinfo, name):
    assert doctor.cpu_name(cpuinfo) == name


def test_what_programs_stand_on_is_a_line_each_and_does_not_decide_the_status(
    site, verdicts, tmp_path
):
    fakes.install(site, "onnx", "1.32.0")
    verdicts["onnx"] = RAN
    report = doctor.report(str(tmp_path / "none"), str(tmp_path))
    assert report["is_ready"]
    assert [finding["name"] for finding in report["surroundings"]] == [
        "memory", "trust", "key", "clock", "disk",
    ]  # fmt: skip
    lines = doctor.text(report).splitlines()
    trust = next(line for line in lines if line.startswith("trust"))
    assert trust.endswith(
        "-> copy the one here that edgeward device add made where you seal, or name it by --trust"
    )
    assert any(line.startswith(f"disk      {tmp_path}: ") for line in lines)
