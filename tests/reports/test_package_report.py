"""A package as a document and as text, whatever its publisher wrote into it."""

import json

import pytest
import sealed
from models import tflite_models

from edgeward import Contents, Package, _core
from edgeward.reports import package_report
from edgeward.reports.inspection import size


def sealed_with(path, metadata, **facts):
    sealed.seal_unchecked(
        path, ("model.tflite", "tflite", True, sealed.MODEL), metadata=metadata, **facts
    )
    return Package.unverified(path)


def text_of(package):
    return package_report.text(package_report.report(package))


def test_everything_is_told(tmp_path):
    device = sealed.DEVICE.public
    path = sealed.seal(
        tmp_path / "p.ewp", 7, min_counter=5, epoch=2, target="linux-x86_64",
        encrypt_to=[device, sealed.key("other", "x25519").public], device_id=device.id,
        not_after_s=4_102_444_800,
    )  # fmt: skip
    package = Package.unverified(path)
    report = package_report.report(package)
    json.dumps(report)
    text = text_of(package)
    for part in (
        "demo 7.0", package.package_id, "7, accepts none below 5, epoch 2",
        "2100-01-01T00:00:00Z", "linux-x86_64, only device " + device.id.hex()[:16],
        "default: " + sealed.PUBLISHER.public.id.hex()[:16], "aes-256-gcm, for 2 devices: ",
        size(len(sealed.MODEL)), "model.tflite", "float32",
    ):  # fmt: skip
        assert part in text


def test_little_is_told_of_a_package_that_says_little(tmp_path):
    text = text_of(sealed_with(tmp_path / "p.ewp", "{}"))
    assert "any machine" in text
    assert "never" in text
    assert "epoch" not in text
    assert "signature" not in text


@pytest.mark.parametrize(
    "schema",
    ["1", "[]", '"x"', "null", '{"a": 1}', '{"a": {"inputs": 1}}', '{"a": {"inputs": [1]}}',
     '{"a": {"inputs": [{}], "outputs": []}}',
     '{"a": {"inputs": [{"name": 1, "dtype": 2, "shape": 3}], "outputs": []}}',
     '{"a": {"inputs": [{"name": 1, "dtype": 2, "shape": 3, "quantization": 4}], "outputs": []}}'],
)  # fmt: skip
def test_a_schema_that_is_none_is_left_out(tmp_path, schema):
    package = sealed_with(tmp_path / "p.ewp", f'{{"schema": {schema}}}')
    text = text_of(package)
    assert (
        " ".join(text.splitlines()[-1].split()) == f"model.tflite tflite {size(len(sealed.MODEL))}"
    )


def test_many_columns_are_counted(tmp_path):
    names = [f"sensor {index}" for index in range(200)]
    contents = Contents(columns={"x": names})
    path = sealed.seal(tmp_path / "p.ewp", contents=contents, model=tflite_models.add((200,)))
    last = text_of(Package.unverified(path)).splitlines()[-1]
    assert last.startswith("  x  sensor 0, sensor 1, ")
    assert last.endswith(", ... (200)")
    assert len(last) < 80


def test_columns_that_are_damaged_are_left_out(tmp_path):
    path = tmp_path / "p.ewp"
    sealed.seal_unchecked(
        path, ("model.tflite", "tflite", True, sealed.MODEL),
        ("columns.json", "auxiliary", False, b"{}"),
    )  # fmt: skip
    report = package_report.report(Package.unverified(path))
    assert report["columns"] is None
    assert "columns\n" not in package_report.text(report)


def test_metadata_that_is_no_document_is_empty(tmp_path):
    for at, metadata in enumerate(("[]", "[" * 100_000 + "]" * 100_000, '{"a": 1')):
        try:
            package = sealed_with(tmp_path / f"{at}.ewp", metadata)
        except _core.BadInput:
            continue
        assert package.metadata == {}


def test_times_that_no_calendar_has(tmp_path):
    package = sealed_with(tmp_path / "p.ewp", "{}", created_s=(1 << 64) - 1, hard_expiry_s=1 << 62)
    report = package_report.report(package)
    assert report["created"] == f"{(1 << 64) - 1} s after 1970"
    assert report["not_after"] == f"{1 << 62} s after 1970"


def test_of_many_devices_the_first_are_shown_and_all_are_in_the_document(tmp_path):
    devices = [sealed.key(f"device {number}", "x25519").public for number in range(500)]
    package = Package.unverified(sealed.seal(tmp_path / "p.ewp", encrypt_to=devices))
    report = package_report.report(package)
    assert report["recipients"] == sorted(device.id.hex() for device in devices)
    lines = [line for line in package_report.text(report).splitlines() if "encrypted" in line]
    assert len(lines) == 1
    first = ", ".join(key_id[:16] for key_id in report["recipients"][:3])
    assert lines[0].endswith(f"aes-256-gcm, for 500 devices: {first}, ... (500)")


def test_a_recipe_is_shown_in_lines(tmp_path):
    recipe = {
        "inputs": {"x": {"kind": "sound", "rate_hz": 16000, "scale": 1 / 3}},
        "boxes": {"layout": "yolov8", "output": "y"},
    }
    path = sealed.seal(tmp_path / "p.ewp", contents=Contents(recipe=recipe))
    assert package_report.report(Package.unverified(path))["recipe"] == {"version": 1, **recipe}
    lines = text_of(Package.unverified(path)).splitlines()
    assert "  x      kind sound, rate_hz 16000, scale 0.333333" in lines
    assert "  boxes  layout yolov8, output y" in lines


@pytest.mark.parametrize("content", [b"{", b'{"version": 2, "inputs": {}}'])
def test_a_recipe_that_is_none_is_left_out(tmp_path, content):
    members = [("model.tflite", "tflite", True, sealed.MODEL)]
    members.append(("recipe.json", "auxiliary", False, content))
    sealed.seal_unchecked(tmp_path / "p.ewp", *members)
    assert package_report.report(Package.unverified(tmp_path / "p.ewp"))["recipe"] is None
