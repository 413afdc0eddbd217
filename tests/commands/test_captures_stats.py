"""edgeward captures stats: what was counted, and whether it has drifted from a reference."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import sealed

import edgeward as ew
from edgeward import Contents

SAMPLES = [np.full(4, value, np.float32) for value in np.random.default_rng(3).permutation(50)]
AGAINST = "--against demo.ewp --trust trust"


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A package, captures `same` of what its calibration set has and `higher` of 100 more."""
    monkeypatch.setenv("EDGEWARD_RINGS", str(tmp_path / "rings"))
    monkeypatch.chdir(tmp_path)
    sealed.trust_at(tmp_path / "trust")
    contents = Contents(calibration=[{"x": sample} for sample in SAMPLES])
    sealed.seal(tmp_path / "demo.ewp", contents=contents)
    capture("same", 0)
    capture("higher", 100)
    return tmp_path


def capture(directory, step, package="demo.ewp", **options):
    with ew.Capture(directory, **options) as opened:
        model = ew.load(package, trust="trust", key=sealed.DEVICE, capture=opened)
        for sample in SAMPLES * 4:
            model.predict(sample + step)


def test_what_has_drifted_is_said_and_is_status_1(run):
    status, out, err = run(f"captures stats higher {AGAINST}")
    assert (status, err) == (1, "")
    assert re.search(r'^DRIFTED:\n +column 0 of input "x" is out of the reference', out, re.M)
    assert re.search(r'^ +column 0 of input "x" has moved up by 6\.9 of its deviation', out, re.M)
    status, out, _ = run(f"captures stats higher {AGAINST} --json")
    assert status == 1
    (judged,) = json.loads(out)["drift"]["judged"]
    assert judged["has_drifted"] is True
    amounts = {
        finding["part"]["name"]: finding["amount"]
        for finding in judged["findings"]
        if finding["part"]["tensor"] == "x" and finding["what"] == "shift"
    }
    assert set(amounts) == set("0123")
    assert amounts["0"] == pytest.approx(100 / np.std(range(50)), rel=1e-3)


def test_what_has_not_drifted_is_status_0(run, done):
    report = done(f"captures stats same {AGAINST}")
    assert report["drift"]["has_drifted"] is False
    assert report["statistics"][0]["run_count"] == 4 * len(SAMPLES)
    status, out, err = run(f"captures stats same {AGAINST}")
    assert (status, err) == (0, "")
    assert "\nas expected\n" in out


def test_a_package_below_the_floor_of_what_runs_here_still_judges(run, workplace):
    trust = ew.Trust(workplace / "trust")
    sealed.run(sealed.seal(workplace / "newer.ewp", 3, min_counter=3), trust)
    with pytest.raises(ew.RollbackRefused):
        ew.Package.open("demo.ewp", trust=trust)
    assert run(f"captures stats higher {AGAINST}")[0] == 1


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        ("none", 5, "none"),
        ("trust", 2, "expected segments or statistics"),
        (f"same trust {AGAINST}", 2, "expected segments or statistics"),
        ("same --png a.png", 2, "expected --against PACKAGE"),
        ("same --html a.html", 2, "expected --against PACKAGE"),
        ("same --against none.ewp --trust trust", 5, "none.ewp"),
        ("same --against demo.ewp --trust elsewhere", 5, "root.json"),
        ("same --against bare.ewp --trust trust", 2, "expected a reference in it, got none"),
        ("same --against forged.ewp --trust trust", 6, "forged.ewp"),
        ("same --against other.ewp --trust trust", 2, 'expected "other", as the package'),
        (f"same {AGAINST} --since 2100-01-01", 2, 'windows of model "demo" to judge, got none'),
        (f"same {AGAINST} --html none/a.html", 5, "none"),
    ],
)
def test_what_cannot_be_judged_is_no_verdict(run, workplace, line, status, says):
    sealed.seal(workplace / "bare.ewp")
    contents = Contents(calibration=[{"x": SAMPLES[0]}, {"x": SAMPLES[9]}])
    sealed.seal(workplace / "forged.ewp", contents=contents, keys=[sealed.key("stranger")])
    sealed.seal(workplace / "other.ewp", contents=contents, name="other")
    got, out, err = run(f"captures stats {line}")
    assert (got, out) == (status, "")
    assert says in err
    assert err.count("\n") == 1


def test_the_picture_and_the_page_show_what_has_drifted(run, workplace):
    image = pytest.importorskip("PIL.Image")
    status, out, _ = run(f"captures stats higher {AGAINST} --png a.png --html a.html")
    assert status == 1
    assert out.endswith("\nwrote a.png\nwrote a.html\n")
    page = (workplace / "a.html").read_text()
    assert page.count("<svg ") >= 1
    assert "has moved up by 6.9" in page
    with image.open(workplace / "a.png") as opened:
        assert opened.width > 2000


def test_statistics_that_are_encrypted_are_judged_with_the_key(run):
    archive = ew.PrivateKey.generate("x25519")
    archive.write("archive.key")
    capture("sealed", 100, encrypt_to=archive.public)
    assert run(f"captures stats sealed {AGAINST}")[0] == 6
    assert run(f"captures stats sealed {AGAINST} --key archive.key")[0] == 1
