"""Files go to a real S3-compatible server whole and once, whatever lies between."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

pytest.importorskip("obstore")

from obstore.store import LocalStore, MemoryStore, S3Store

from edgeward.agent import capture_layout, object_upload
from edgeward.agent.capture_layout import Layout, Manifest
from edgeward.agent.capture_request import Captured, Payload
from edgeward.agent.object_upload import LONGEST_DELAY_S, ObjectUpload, delay_s, finished_files

from . import s3_server

HOUR = "prefix/fleet/model/2026/11/28/13"
FILES = {
    f"{HOUR}/raw-data/input-tensors/a.bin": os.urandom(100_000),
    f"{HOUR}/raw-data/output-tensors/a.bin": b"",
    f"{HOUR}/0a.jsonl": b'{"eventVersion": "0"}\n',
    f"{HOUR}/0b.jsonl": b"{}\n" * 1000,
}


def lay(directory: Path, files: dict[str, bytes] = FILES) -> Path:
    for name, data in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    return directory


def content(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def file_count(directory: Path) -> int:
    """Also while an uploader deletes them."""
    return sum(path.is_file() for path in directory.rglob("*"))


def s3(port: int, secret: str = s3_server.SECRET_KEY) -> S3Store:
    return S3Store(
        s3_server.BUCKET,
        config={
            "aws_region": "us-east-1",
            "aws_endpoint_url": f"http://127.0.0.1:{port}",
            "aws_access_key_id": s3_server.ACCESS_KEY,
            "aws_secret_access_key": secret,
        },
        client_options={"allow_http": True, "timeout": "1s"},
        retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=1)},
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    if s3_server.rclone() is None:
        pytest.skip("needs rclone")
    folder = tmp_path_factory.mktemp("s3")
    with s3_server.serving(folder) as port:
        yield port, folder / s3_server.BUCKET


@pytest.fixture
def bucket(server: tuple[int, Path]) -> Iterator[tuple[s3_server.Relay, Path]]:
    """A relay to the server, and the empty folder of its bucket."""
    port, folder = server
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    relay = s3_server.Relay(port)
    yield relay, folder
    relay.close()


def test_each_file_is_in_the_store_and_gone_here(
    tmp_path: Path, bucket: tuple[s3_server.Relay, Path]
) -> None:
    relay, folder = bucket
    stored: list[str] = []
    done = ObjectUpload(lay(tmp_path), s3(relay.port), on_stored=stored.append).run_once()
    assert content(folder) == FILES
    assert content(tmp_path) == {}
    assert done.stored == tuple(stored)
    assert sorted(stored) == sorted(FILES)
    assert not done.failed
    assert not done.is_away


@pytest.mark.parametrize("fault", ["reset", "unavailable", "half", "deaf", "lost"])
def test_a_fault_between_loses_nothing(
    tmp_path: Path, bucket: tuple[s3_server.Relay, Path], fault: str
) -> None:
    relay, folder = bucket
    upload = ObjectUpload(lay(tmp_path), s3(relay.port))
    relay.fault = fault
    for _ in range(2):
        done = upload.run_once()
        assert done.is_away
        assert done.stored == ()
        assert content(tmp_path) == FILES
    assert relay.broken > 0
    relay.fault = "pass"
    assert sorted(upload.run_once().stored) == sorted(FILES)
    assert content(folder) == FILES
    assert content(tmp_path) == {}


def test_a_store_that_refuses_the_key_is_away(
    tmp_path: Path, bucket: tuple[s3_server.Relay, Path]
) -> None:
    relay, folder = bucket
    failures: list[tuple[str, str]] = []
    upload = ObjectUpload(
        lay(tmp_path), s3(relay.port, "wrong"), on_failed=lambda *it: failures.append(it)
    )
    assert upload.run_once().is_away
    assert upload.run_once().is_away
    assert len(failures) == 1  # said once
    assert "\n" not in failures[0][1]
    assert content(tmp_path) == FILES
    assert content(folder) == {}


def test_an_uploader_killed_at_any_moment_loses_and_doubles_nothing(
    tmp_path: Path, bucket: tuple[s3_server.Relay, Path]
) -> None:
    relay, folder = bucket
    files = {f"{HOUR}/{number:03}.jsonl": os.urandom(2000) for number in range(300)}
    directory = lay(tmp_path / "files", files)
    program = """
import sys
sys.path.insert(0, sys.argv[3])
from agent.test_object_upload import s3
from edgeward.agent.object_upload import ObjectUpload
print("ready", flush=True)
ObjectUpload(sys.argv[1], s3(int(sys.argv[2]))).run_once()
"""
    arguments = [str(directory), str(relay.port), str(Path(__file__).parents[1])]
    chance = random.Random(5)
    kills = 0
    for _ in range(5):
        child = subprocess.Popen(
            [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        wanted = file_count(directory) - chance.randint(1, 60)
        while file_count(directory) > wanted and child.poll() is None:
            pass
        child.send_signal(signal.SIGKILL)
        kills += child.wait() == -signal.SIGKILL
        child.stdout.close()
    assert kills > 0
    ObjectUpload(directory, s3(relay.port)).run_once()
    assert content(folder) == files
    assert content(directory) == {}


def test_a_file_that_is_there_already_counts_as_stored(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    store = LocalStore(tmp_path / "store")
    for _ in range(2):
        directory = lay(tmp_path / "files")
        assert sorted(ObjectUpload(directory, store).run_once().stored) == sorted(FILES)
        assert content(directory) == {}
    assert content(tmp_path / "store") == FILES


@pytest.mark.parametrize("other", [b"{}", b"x" * 21, b""], ids=["short", "as long", "empty"])
def test_an_object_with_other_bytes_is_never_replaced(tmp_path: Path, other: bytes) -> None:
    (tmp_path / "store").mkdir()
    store = LocalStore(tmp_path / "store")
    key = f"{HOUR}/raw-data/input-tensors/a.bin"
    lay(tmp_path / "store", {key: other})
    failures: list[tuple[str, str]] = []
    directory = lay(tmp_path / "files")
    upload = ObjectUpload(directory, store, on_failed=lambda *it: failures.append(it))
    done = upload.run_once()
    upload.run_once()
    assert failures == [(key, "expected these bytes in the store, got an object with others")]
    assert not done.is_away
    assert content(tmp_path / "store")[key] == other
    # What may name it waits for it.
    assert sorted(content(directory)) == sorted([key, f"{HOUR}/0a.jsonl", f"{HOUR}/0b.jsonl"])


def test_drafts_links_and_pipes_stay(tmp_path: Path) -> None:
    directory = lay(tmp_path / "files", {"a.jsonl.x1.draft": b"half", "a.bin": b"a"})
    (tmp_path / "secret").write_text("not for the store")
    (directory / "link.bin").symlink_to(tmp_path / "secret")
    (directory / "folder").symlink_to(tmp_path)
    os.mkfifo(directory / "pipe.bin")
    store = MemoryStore()
    assert ObjectUpload(directory, store).run_once().stored == ("a.bin",)
    assert content(directory)["a.jsonl.x1.draft"] == b"half"


def test_manifests_go_last_in_their_folder(tmp_path: Path) -> None:
    paths = finished_files(lay(tmp_path), [])
    names = [path.relative_to(tmp_path).as_posix() for path in paths]
    assert names == [
        f"{HOUR}/raw-data/input-tensors/a.bin",
        f"{HOUR}/raw-data/output-tensors/a.bin",
        f"{HOUR}/0a.jsonl",
        f"{HOUR}/0b.jsonl",
    ]
    assert list(finished_files(tmp_path / "none", [])) == []


UNREADABLE = """
import sys
from pathlib import Path
from obstore.store import MemoryStore
from edgeward.agent.object_upload import ObjectUpload
upload = ObjectUpload(sys.argv[1], MemoryStore(), on_failed=lambda key, why: print(key, why))
for _ in range(2):
    done = upload.run_once()
print(sorted(done.failed), done.is_away)
Path(sys.argv[1], "closed").chmod(0o700)
print(upload.run_once().stored)
"""


def test_a_folder_that_cannot_be_read_keeps_back_itself_alone(tmp_path: Path) -> None:
    files = {"closed/a.bin": b"a", "0.jsonl": b"names a", "open/b.bin": b"b", "open/1.jsonl": b"{}"}
    directory = lay(tmp_path / "files", files)
    (directory / "closed").chmod(0)
    command = [sys.executable, "-c", UNREADABLE, str(directory)]
    if os.geteuid() == 0:  # without the rights that root has on every file
        if shutil.which("setpriv") is None:
            pytest.skip("needs setpriv")
        command = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", *command]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    waits = ("0.jsonl", "waits for the files that it names")
    refused = ("closed", "expected a folder to read, got Permission denied")
    assert done.stdout.splitlines() == [
        " ".join(refused),
        f"{[waits, refused]} False",
        "('closed/a.bin', '0.jsonl')",
    ], done.stderr


def test_a_file_that_cannot_be_read_keeps_back_nothing_else() -> None:
    """A real one that gives EIO: the unmapped memory of this process."""
    done = ObjectUpload("/proc/self", MemoryStore(), suffix="mem").run_once()
    assert done.failed == (("mem", "expected a file to read, got Input/output error"),)
    assert not done.is_away


def folders(directory: Path) -> set[str]:
    paths = directory.rglob("*")
    return {path.relative_to(directory).as_posix() for path in paths if path.is_dir()}


def test_folders_that_it_emptied_go_when_nobody_writes_to_them(tmp_path: Path) -> None:
    directory = lay(tmp_path / "files")
    (directory / "prefix" / "of somebody else").mkdir()
    upload = ObjectUpload(directory, MemoryStore())
    before = folders(directory)
    upload.run_once()
    assert folders(directory) == before
    for name, _, _ in os.walk(directory, topdown=False):
        os.utime(name, (0, 0))
    (directory / HOUR / "comes.x1.draft").touch()
    upload.run_once()
    assert folders(directory) == {
        "prefix/of somebody else",
        *(path.as_posix() for path in (Path(HOUR), *Path(HOUR).parents[:-1])),
    }
    (directory / HOUR / "comes.x1.draft").unlink()
    for name, _, _ in os.walk(directory, topdown=False):
        os.utime(name, (0, 0))
    upload.run_once()
    assert folders(directory) == {"prefix", "prefix/of somebody else"}


def test_folders_that_it_emptied_go_at_the_end(tmp_path: Path) -> None:
    directory = lay(tmp_path / "files")
    upload = ObjectUpload(directory, MemoryStore(), on_stored=lambda key: upload.stop())
    upload.run(0.001)
    assert HOUR in folders(directory)
    upload = ObjectUpload(
        directory, MemoryStore(), on_stored=lambda key: upload.stop() if "0b" in key else None
    )
    upload.run(0.001)
    assert folders(directory) == set()
    assert directory.is_dir()


def test_a_capture_is_written_whose_folder_is_removed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file goes to the store at once, and each folder as soon as it is empty."""
    monkeypatch.setattr(object_upload, "IDLE_FOLDER_S", -60.0)
    layout = Layout(str(tmp_path / "files"), "prefix", "shop", "camera7", 0)
    payload = Payload("input-tensors", "x", "text", "NONE", b"content")
    store = MemoryStore()
    upload = ObjectUpload(layout.root, store)
    uploading = threading.Thread(target=upload.run, args=(0.0,))
    uploading.start()
    try:
        for number in range(300):
            capture = Captured(f"{number}", "demo", "1", number * 3600, (payload,))
            capture_layout.store(
                Manifest(layout.folder(capture), f"{number:032x}", [capture]), layout
            )
    finally:
        upload.stop()
        uploading.join()
    ObjectUpload(layout.root, store).run_once()
    objects = [meta["path"] for batch in store.list() for meta in batch]
    assert len(objects) == 2 * 300


def test_waits_grow_and_are_bounded() -> None:
    chance = random.Random(1)
    longest = [max(delay_s(failures, chance) for _ in range(300)) for failures in range(1, 40)]
    assert longest[0] <= 2
    assert longest[4] > 8 * longest[0]
    assert max(longest) <= LONGEST_DELAY_S
    assert longest[-1] > 0.9 * LONGEST_DELAY_S
    assert delay_s(10_000, chance) <= LONGEST_DELAY_S


def test_an_upload_looks_again_until_it_is_stopped(tmp_path: Path) -> None:
    stored = threading.Event()
    keys: list[str] = []

    def note(key: str) -> None:
        keys.append(key)
        stored.set()

    upload = ObjectUpload(tmp_path, MemoryStore(), on_stored=note)
    thread = threading.Thread(target=upload.run, args=(0.01,))
    thread.start()
    lay(tmp_path, {"a.bin": b"1"})
    assert stored.wait(30)
    upload.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert keys == ["a.bin"]
