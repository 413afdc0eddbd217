"""Where the device's key comes from: the first place that has one, and what is refused there."""

import os
import re

import pytest
from sealed import key, key_text

from edgeward import BadInput, MalformedKey
from edgeward.trust import device_key
from edgeward.trust.device_key import CREDENTIAL, FILE, VARIABLE, find_device_key, places

IN_FILE, IN_CREDENTIALS, IN_ENVIRONMENT = (key(name, "x25519") for name in "abc")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """As nothing else has set it."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(device_key, "_kept", None)


@pytest.fixture
def directory(tmp_path):
    """A trust directory with a key in it."""
    path = tmp_path / "trust"
    path.mkdir()
    IN_FILE.write(str(path / FILE))
    return path


@pytest.fixture
def credentials(tmp_path, monkeypatch):
    """A credentials directory as systemd gives it: its files' modes keep nobody out."""
    path = tmp_path / "credentials"
    path.mkdir()
    IN_CREDENTIALS.write(str(path / CREDENTIAL))
    os.chmod(path / CREDENTIAL, 0o444)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(path))
    return path


def found_id(directory):
    key_here = find_device_key(str(directory))
    return None if key_here is None else key_here.public.id


def test_without_a_key_anywhere_there_is_none(tmp_path, monkeypatch):
    assert find_device_key(str(tmp_path)) is None
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv(VARIABLE, "")
    assert find_device_key(str(tmp_path)) is None


def test_credentials_come_before_the_environment_and_that_before_the_file(
    directory, credentials, monkeypatch
):
    assert found_id(directory) == IN_CREDENTIALS.public.id
    monkeypatch.setenv(VARIABLE, key_text("c", "x25519"))
    assert found_id(directory) == IN_CREDENTIALS.public.id
    (credentials / CREDENTIAL).unlink()
    assert found_id(directory) == IN_ENVIRONMENT.public.id
    monkeypatch.setattr(device_key, "_kept", None)
    assert found_id(directory) == IN_FILE.public.id


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o601], ids=oct)
def test_a_file_that_others_may_touch_is_refused(directory, mode):
    os.chmod(directory / FILE, mode)
    with pytest.raises(BadInput, match=f"mode 0{mode:o}.*chmod 600"):
        find_device_key(str(directory))


@pytest.mark.parametrize("mode", [0o600, 0o400], ids=oct)
def test_a_file_that_its_owner_alone_may_read_is_taken(directory, mode):
    os.chmod(directory / FILE, mode)
    assert found_id(directory) == IN_FILE.public.id


SECRET = "5e" * 32
NO_KEYS = {
    "empty": "",
    "no hexadecimal": f"edgeward-private-key x25519 {SECRET[:-1]}g",
    "too short": f"edgeward-private-key x25519 {SECRET[:-2]}",
    "too long": f"edgeward-private-key x25519 {SECRET}5e",
    "a second line": f"edgeward-private-key x25519 {SECRET}\n\n",
    "no algorithm": f"edgeward-private-key {SECRET}",
    "an unknown algorithm": f"edgeward-private-key rsa {SECRET}",
    "a public key": f"edgeward-public-key x25519 {SECRET}",
    "a scalar that is no key": "edgeward-private-key ecdsa-p256 " + "ff" * 32,
    "very long": "x" * 300,
}


@pytest.mark.parametrize("text", NO_KEYS.values(), ids=NO_KEYS)
def test_a_key_that_is_there_and_is_none_is_refused_without_showing_it(
    directory, credentials, monkeypatch, text
):
    def check(source):
        with pytest.raises(MalformedKey, match=re.escape(str(source))) as refusal:
            find_device_key(str(directory))
        assert SECRET[:16] not in str(refusal.value)

    os.chmod(credentials / CREDENTIAL, 0o600)
    (credentials / CREDENTIAL).write_text(text)
    check(credentials / CREDENTIAL)
    (credentials / CREDENTIAL).unlink()
    (directory / FILE).write_text(text)
    check(directory / FILE)
    if text:
        monkeypatch.setenv(VARIABLE, text)
        check(VARIABLE)
        check(VARIABLE)  # though it has been taken out of the environment


def test_the_environments_key_is_taken_out_and_stays_with_forked_children(directory, run_child):
    """No program that is started sees it, nor who may read /proc; this process's loads go on."""
    text = key_text("c", "x25519")
    output = run_child(
        """
import ctypes, mmap, multiprocessing, os, re, subprocess, sys
from pathlib import Path
from edgeward.trust import device_key

directory, name, secret = sys.argv[1], device_key.VARIABLE, sys.argv[2]

def key_id():
    return device_key.find_device_key(directory).public.id.hex()

environ = Path("/proc/self/environ")
assert secret.encode() in environ.read_bytes()
print(key_id())
assert name not in os.environ
assert secret.encode() not in environ.read_bytes()
print(key_id())
if os.fork() == 0:
    print(key_id(), flush=True)
    os._exit(0)
assert os.wait()[1] == 0
print(subprocess.run(["env"], capture_output=True, text=True).stdout.count(name))

address = ctypes.addressof(ctypes.c_char.from_buffer(device_key._kept))
for entry in re.split(r"\\n(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text()):
    first, last = (int(part, 16) for part in entry.split()[0].split("-"))
    if first <= address < last:
        print("dd" in entry.split("VmFlags:")[1].split())

os.environ[name] = secret.replace(secret[-64:], "22" * 32)  # given anew
assert key_id() != sys.argv[3]
assert name not in os.environ
print(multiprocessing.get_context("spawn").Pool(1).apply(os.getenv, (name,)))
""",
        directory,
        text,
        IN_ENVIRONMENT.public.id.hex(),
        **{VARIABLE: text},
    )
    key_id = IN_ENVIRONMENT.public.id.hex()
    assert output.split() == [key_id, key_id, key_id, "0", "True", "None"]


def test_every_place_is_named(directory):
    named = places(str(directory))
    assert str(directory / FILE) in named
    assert VARIABLE in named
    assert CREDENTIAL in named
