"""The process: how it starts, ends, restarts, and what it leaves."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from concurrent import futures
from pathlib import Path

import fakes
import grpc
import numpy as np
import pytest
import sealed

from edgeward import lock_file
from edgeward.engines.installed import KINDS

from .clients import Client, array_of, refused
from .running import Running, edge_manager_file
from .test_served_model import children

X = np.arange(4, dtype=np.float32)


@pytest.fixture
def device(tmp_path):
    sealed.trust_at(tmp_path / "trust")
    sealed.seal(tmp_path / "demo.ewp")
    return tmp_path


@pytest.fixture
def arguments(device):
    return ("-c", edge_manager_file(device), "-a", device / "agent.sock")


def aliases(client):
    return [model.name for model in client.ListModels().models]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it_and_its_socket(device, arguments, number):
    with Running(device, *arguments) as running:
        assert aliases(Client(running.socket)) == []
        assert stat.S_IMODE(os.stat(running.socket).st_mode) == 0o600
        assert running.stop(number) == 0
        assert not os.path.exists(running.socket)
    assert "Server listening on unix://" in running.output


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_loads_are_there_again_after_a_restart(device, arguments, number):
    with Running(device, *arguments) as running:
        client = Client(running.socket)
        for alias in ("a", "b", "c"):
            client.LoadModel(url="demo.ewp", name=alias)
        client.UnLoadModel(name="b")
        listed = client.ListModels()
        running.stop(number)
        running.start()
        client = Client(running.socket)
        assert client.ListModels().SerializeToString() == listed.SerializeToString()
        assert aliases(client) == [model.name for model in listed.models] == ["a", "c"]
        assert array_of(client.Predict(name="c", tensors=[client.tensor(X)]).tensors[0]).any()


def test_a_model_that_is_gone_is_named_and_the_others_serve(device, arguments):
    sealed.seal(device / "other.ewp", 2)
    with Running(device, *arguments) as running:
        client = Client(running.socket)
        client.LoadModel(url="demo.ewp", name="stays")
        client.LoadModel(url="other.ewp", name="goes")
        running.stop(signal.SIGKILL)
        (device / "other.ewp").unlink()
        running.start()
        client = Client(running.socket)
        assert aliases(client) == ["stays"]
        code, text = refused(client.DescribeModel, name="goes")
        assert code == "NOT_FOUND"
        assert "other.ewp" in text
        client.LoadModel(url="demo.ewp", name="goes")
        assert aliases(client) == ["goes", "stays"]


def test_a_table_that_no_agent_wrote_is_moved_aside(device, arguments):
    with Running(device, *arguments) as running:
        Client(running.socket).LoadModel(url="demo.ewp", name="a")
        running.stop()
        table = device / "state" / "models.json"
        table.write_text(table.read_text()[:-3])
        running.start()
        assert aliases(Client(running.socket)) == []
        assert table.with_suffix(".json.broken").exists()
        assert "moved aside" in running.output


def run_agent(*arguments, state):
    return subprocess.run(
        [sys.executable, "-m", "edgeward", "agent", *map(str, arguments)],
        env={
            **os.environ,
            "STATE_DIRECTORY": str(state),
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True,
        text=True,
        timeout=60,
        cwd=state.parent,
    )


def test_a_socket_in_use_is_not_taken_without_f(device, arguments):
    with Running(device, *arguments) as running:
        ended = run_agent(*arguments, state=device / "second")
        assert ended.returncode == 2
        assert "got one in use" in ended.stderr
        assert aliases(Client(running.socket)) == []


def test_an_agent_whose_place_was_taken_leaves_the_socket_of_the_other(device, arguments):
    with Running(device, *arguments) as first:
        second = Running(device, *arguments, "-f", STATE_DIRECTORY=str(device / "second"))
        with second:
            assert first.stop() == 0
            assert aliases(Client(second.socket)) == []
            os.unlink(second.socket)
            assert second.stop() == 0


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a megabyte and few files, with a function that fills both."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=60", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root mounts a file system")

    def fill():
        with contextlib.suppress(OSError), open(folder / "full", "wb", 0) as file:
            while file.write(bytes(4096)):
                pass
        with contextlib.suppress(OSError):
            for number in range(100):
                (folder / f"file-{number}").touch()
        assert not os.statvfs(folder).f_bavail
        assert not os.statvfs(folder).f_favail

    yield folder, fill
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_state_directory_costs_no_prediction(device, arguments, small_disk):
    folder, fill = small_disk
    with Running(device, *arguments, STATE_DIRECTORY=str(folder / "state")) as running:
        client = Client(running.socket)
        client.LoadModel(url="demo.ewp", name="a")
        fill()
        for _ in range(2):  # also of an agent that starts on it
            client = Client(running.socket)
            assert array_of(client.Predict(name="a", tensors=[client.tensor(X)]).tensors[0]).any()
            assert refused(client.LoadModel, url="demo.ewp", name="b")[0] == "RESOURCE_EXHAUSTED"
            assert refused(client.UnLoadModel, name="a")[0] == "RESOURCE_EXHAUSTED"
            running.stop(signal.SIGKILL)
            running.start()
        for path in folder.glob("f*"):
            path.unlink()
        Client(running.socket).LoadModel(url="demo.ewp", name="b")


def test_names_that_the_locale_cannot_write(device, arguments):
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with Running(device, *arguments, **locale) as running:
        client = Client(running.socket)
        assert refused(client.LoadModel, url="\N{SNOWMAN}", name="a")[0] == "NOT_FOUND"
        assert refused(client.DescribeModel, name="\N{SNOWMAN}")[0] == "INVALID_ARGUMENT"
    assert "\\u2603" in running.output
    assert "Traceback" not in running.output


def test_a_relative_url_without_a_working_directory(device, arguments, tmp_path):
    """Where the agent was started is removed, as by an upgrade."""
    (tmp_path / "gone").mkdir()
    edge_manager_file(device, root_certs_path=str(device / "trust"))
    with Running(device, *arguments) as running:
        running.stop()
        running.directory = tmp_path / "gone"
        running.start()
        (tmp_path / "gone" / "agent.log").rename(device / "agent.log")
        (tmp_path / "gone").rmdir()
        running.directory = device
        client = Client(running.socket)
        assert refused(client.LoadModel, url="demo.ewp", name="a")[0] == "NOT_FOUND"
        client.LoadModel(url=str(device / "demo.ewp"), name="a")


def test_a_prediction_that_hangs_keeps_no_capture_from_the_disk_at_the_end(device):
    capture = f'capture_directory = "{device}/captures"'
    file = toml(device, "most_run_s = 600", "capture_period_s = 600", capture)
    with Running(device, "-c", file) as running, futures.ThreadPoolExecutor(1) as pool:
        admin = Client(f"{device}/admin.sock")
        admin.LoadModel(url="demo.ewp", name="a")
        tensor = admin.tensor(X)
        admin.Predict(name="a", tensors=[tensor])
        admin.CaptureData(model_name="a", capture_id="kept", input_tensors=[tensor])
        (worker,) = children(running.process.pid)
        os.kill(worker, signal.SIGSTOP)
        hanging = pool.submit(refused, admin.Predict, name="a", tensors=[tensor])
        assert refused(admin.CaptureData, model_name="a", capture_id="kept")[0] == "ALREADY_EXISTS"
        assert running.stop() == 0
        assert hanging.result()[0] == "UNAVAILABLE"
    (manifest,) = (device / "captures").rglob("*.jsonl")
    assert "kept" in manifest.read_text()


def test_a_service_manager_that_has_gone_ends_no_agent(device, arguments):
    with Running(device, *arguments, WATCHDOG_USEC="20000") as running:
        os.unlink(running.environment["NOTIFY_SOCKET"])
        client = Client(running.socket)
        while "not told WATCHDOG=1" not in running.output:
            assert aliases(client) == []
        assert running.stop() == 0


def test_two_agents_do_not_share_a_state(device, arguments):
    with Running(device, *arguments) as running:
        ended = run_agent(*arguments[:2], "-a", device / "other.sock", state=device / "state")
        assert ended.returncode == 5
        assert "the agent's state directory" in ended.stderr
        assert aliases(Client(running.socket)) == []


def test_a_state_that_is_let_go_in_a_moment_is_waited_for(device, arguments):
    """As by a child of a killed agent that has not become another program yet."""
    lock = device / "state" / "lock"
    with Running(device, *arguments) as running:
        running.stop(signal.SIGKILL)
        with lock_file.held(lock, "the state"):
            running.launch()
            while not has_open(running.process, lock):
                assert running.process.poll() is None, running.output
        assert running.notice() == "READY=1", running.output


def has_open(process, path):
    for number in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if number.readlink() == path:
                return True
    return False


@pytest.mark.parametrize("moment", ["load", "start"])
def test_sigterm_ends_an_agent_that_loads_in_its_own_process(device, monkeypatch, moment):
    """The load hangs in the engine, which nothing else ends."""
    site = fakes.site(monkeypatch, device / "site")
    hanging = fakes.libraries()["hang_at_load"].read_bytes()
    fakes.install(site, "litert", KINDS["litert"].lowest, hanging)
    row = {"alias": "a", "url": "demo.ewp", "path": str(device / "demo.ewp")}
    table = json.dumps({"version": 1, "models": [row] if moment == "start" else []})
    settings = toml(device, "workers = 0")
    with Running(device, "-c", settings, EDGEWARD_PROBING="1") as running:
        running.stop()
        (device / "state" / "models.json").write_text(table)
        running.launch()
        if moment == "load":
            assert running.notice() == "READY=1", running.output
            threading.Thread(target=load, args=(f"{device}/admin.sock",)).start()
        while not is_mapped(running.process, "libLiteRt.so"):
            assert running.process.poll() is None, running.output
        assert running.stop() == 0
    assert "ended while a load or a run took more than" in running.output
    assert (device / "state" / "models.json").read_text() == table


def load(path):
    """LoadModel, which the end of the agent refuses."""
    client = Client(path)
    refused(client.LoadModel, url="demo.ewp", name="a")
    client.close()


def is_mapped(process, name):
    return name in Path(f"/proc/{process.pid}/maps").read_text()


def test_a_file_that_is_no_socket_stays(device, arguments):
    (device / "agent.sock").write_text("mine")
    ended = run_agent(*arguments, "-f", state=device / "state")
    assert ended.returncode == 5
    assert "expected a socket or nothing" in ended.stderr
    assert (device / "agent.sock").read_text() == "mine"


def test_the_socket_of_a_killed_agent_is_replaced(device, arguments):
    with Running(device, *arguments) as running:
        running.stop(signal.SIGKILL)
        assert os.path.exists(running.socket)
        running.start()
        assert aliases(Client(running.socket)) == []


def test_a_missing_trust_directory_is_named(device):
    file = edge_manager_file(device, root_certs_path=str(device / "nowhere"))
    ended = run_agent("-c", file, "-a", device / "agent.sock", state=device / "state")
    assert ended.returncode == 5
    assert "nowhere" in ended.stderr


def test_m_is_the_limit_of_a_message(device, arguments):
    with Running(device, *arguments, "-m", 2000) as running:
        client = Client(running.socket)
        client.LoadModel(url="demo.ewp", name="a")
        code, _ = refused(client.Predict, name="a", tensors=[client.tensor(np.zeros(999))])
        assert code == "RESOURCE_EXHAUSTED"
        client.Predict(name="a", tensors=[client.tensor(X)])


def toml(device, *lines):
    path = device / "agent.toml"
    sockets = f'socket = "{device}/agent.sock"\nadmin_socket = "{device}/admin.sock"\n'
    path.write_text(sockets + f'trust = "{device}/trust"\n' + "\n".join(lines))
    return path


def test_the_data_socket_neither_loads_nor_unloads(device):
    with Running(device, "-c", toml(device)) as running:
        admin, data = Client(f"{device}/admin.sock"), Client(running.socket)
        for call in (data.LoadModel, data.UnLoadModel):
            code, text = refused(call, name="a")
            assert code == "PERMISSION_DENIED"
            assert "admin socket" in text
        admin.LoadModel(url="demo.ewp", name="a")
        assert aliases(data) == ["a"]
        data.Predict(name="a", tensors=[data.tensor(X)])
        admin.UnLoadModel(name="a")


def test_bare_models_are_loaded_where_the_device_allows_them(device):
    (device / "bare").mkdir()
    (device / "bare" / "net.tflite").write_bytes(sealed.MODEL)
    with Running(device, "-c", toml(device, "unsigned = true")) as running:
        client = Client(f"{device}/admin.sock")
        client.LoadModel(url="bare/net.tflite", name="file")
        client.LoadModel(url="bare", name="folder")
        client.LoadModel(url="demo.ewp", name="package")
        assert aliases(Client(running.socket)) == ["file", "folder", "package"]


def test_one_user_has_so_many_connections(device):
    with Running(device, "-c", toml(device, "most_connections = 3")) as running:
        connections = [connected(running.socket) for _ in range(3)]
        assert connected(running.socket).recv(1) == b""  # closed at once
        assert connections[0].recv(1) != b""  # greeted by the server
        for connection in connections:
            connection.close()
        client = Client(running.socket)
        grpc.channel_ready_future(client.channel).result(60)
        assert aliases(client) == []
    assert "expected 3 connections" in running.output


def connected(path):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(60)
    connection.connect(path)
    return connection


USER, FIRST_GROUP, OTHER_GROUP, STRANGER = 12345, 23456, 34567, 45678
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")


@pytest.fixture
def open_device(device):
    """A device whose sockets a user who owns nothing can reach."""
    os.chmod(device, 0o755)
    for above in device.parents:
        if above.stat().st_uid == os.geteuid() and above != Path("/"):
            above.chmod(above.stat().st_mode | 0o011)
    return device


def is_let_in(path):
    """Whether a process of USER, with its two groups, gets an answer at the socket `path`."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([OTHER_GROUP])
            os.setgid(FIRST_GROUP)
            os.setuid(USER)
            answer = connected(path).recv(1)
            os._exit(0 if answer else 7)
        finally:
            os._exit(1)  # it has the tests' process, and would go on with them
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 7)
    return os.waitstatus_to_exitcode(status) == 0


@only_root
@pytest.mark.parametrize(
    ("line", "is_listed"),
    [
        (f"users = [{USER}]", True),
        (f"users = [{STRANGER}]", False),
        (f"groups = [{FIRST_GROUP}]", True),
        (f"groups = [{STRANGER}, {OTHER_GROUP}]", True),
        (f"groups = [{STRANGER}]", False),
    ],
)
def test_a_user_who_is_not_listed_is_sent_away(open_device, line, is_listed):
    with Running(open_device, "-c", toml(open_device, line)) as running:
        assert is_let_in(running.socket) == is_listed
    text = f"expected a user of users or groups, got one of user {USER}"
    assert (text in running.output) != is_listed


@only_root
@pytest.mark.parametrize(
    ("variable", "value", "is_listed"),
    [("USERS", USER, True), ("GROUPS", OTHER_GROUP, True), ("USERS", STRANGER, False)],
)
def test_the_one_socket_of_an_edge_manager_agent_for_other_users(
    open_device, arguments, variable, value, is_listed
):
    """Their file has no key for it; the environment says who else may use the socket."""
    environment = {f"EDGEWARD_AGENT_ADMIN_{variable}": str(value)}
    with Running(open_device, *arguments, **environment) as running:
        assert stat.S_IMODE(os.stat(running.socket).st_mode) == 0o666
        assert is_let_in(running.socket) == is_listed
    text = f"expected a user of admin_users or admin_groups, got one of user {USER}"
    assert (text in running.output) != is_listed


def test_who_may_use_the_one_socket_is_said_of_admins(device, arguments):
    state = device / "second"
    ended = run_agent("-c", toml(device, f"users = [{USER}]"), "-a", device / "s", state=state)
    assert ended.returncode == 2
    assert "admin_users and admin_groups" in ended.stderr


def test_sockets_from_the_service_manager(device):
    """As systemd passes them: descriptors from 3 on, named, in variables of the process's id."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{device}/passed.sock")
    listener.listen()
    program = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid());"
        "os.execv(sys.executable, [sys.executable, '-m', 'edgeward', 'agent', *sys.argv[2:]])"
    )
    running = Running(device)
    environment = {**running.environment, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "data"}
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(listener.fileno()), "-c", str(toml(device))],
        env=environment,
        pass_fds=[listener.fileno()],
        cwd=device,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    running.process = process
    assert running.notice() == "READY=1", running.output
    assert aliases(Client(f"{device}/passed.sock")) == []
    assert not os.path.exists(running.socket)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert os.path.exists(f"{device}/passed.sock")  # it is the service manager's
    listener.close()
