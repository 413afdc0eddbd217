"""The agent in one piece: models, captures, the gRPC server, and the doors before it."""

import grp
import logging
import os
import pwd
import socket
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent import futures
from contextlib import ExitStack
from typing import TYPE_CHECKING

import grpc

from edgeward import _core, lock_file
from edgeward.agent import device_service, edge_service, inference_service, public_socket
from edgeward.agent.calls import Calls
from edgeward.agent.capture_intake import Buffering, CaptureIntake
from edgeward.agent.capture_layout import Layout
from edgeward.agent.configuration import Configuration, state_directory
from edgeward.agent.device_service import DeviceService
from edgeward.agent.door import Connections, Door, Rules
from edgeward.agent.edge_service import EdgeService
from edgeward.agent.health_service import MOST_WATCHES, HealthService
from edgeward.agent.inference_service import InferenceService
from edgeward.agent.loaded_models import LoadedModels
from edgeward.agent.model_file import ModelOpener
from edgeward.agent.ring_drains import Limits, RingDrains
from edgeward.agent.worker_program import WorkerProgram
from edgeward.captures import rings
from edgeward.errors import BadInput
from edgeward.trust.trust_directory import Trust

if TYPE_CHECKING:
    from edgeward.agent.uploads import Uploads

log = logging.getLogger(__name__)

INNER_DIRECTORY = "inner"
INNER_SOCKET = "server"
SEGMENTS = "segments"  # their folder in a store
LOCK = "lock"
LEAVING_CALLS = 64  # that were ended, and have their thread for a moment
MOST_LOCK_WAIT_S = 3.0  # for a child of a killed agent, which has its descriptors until it execs
MOST_RESTORE_S = 30.0  # that a start waits for its models
GRACE_S = 5.0  # for calls under way when the agent ends
MOST_END_S = 5.0  # for loads and runs in this process, when captures are on the disk
MOST_STREAMS = 32  # of one connection: a client's further calls wait there


class Agent:
    """Serves from the moment it is made until `close`.

    `passed` are sockets from the service manager, by the names "data" and "admin". With `replaces`,
    it takes the place of a socket that another process listens at. The start waits for no model
    once `is_ended`; `begun` are workers for its models. Raises what a configuration that cannot be
    served deserves: BadInput, Busy, OSError, TimeoutError when another agent has the state
    directory, and what Trust raises.
    """

    def __init__(
        self,
        settings: Configuration,
        passed: Mapping[str, socket.socket],
        replaces: bool,
        is_ended: Callable[[], bool] = lambda: False,
        begun: Iterable[WorkerProgram] = (),
    ) -> None:
        self._stack = ExitStack()
        self._is_made = False
        with self._stack:
            self._open(settings, passed, replaces, is_ended, begun)
            self._stack = self._stack.pop_all()
        self._is_made = True

    def close(self) -> None:
        """Takes no further connection, lets calls end, and brings captures to the disk."""
        self._stack.close()

    def _open(
        self,
        settings: Configuration,
        passed: Mapping[str, socket.socket],
        replaces: bool,
        is_ended: Callable[[], bool],
        begun: Iterable[WorkerProgram],
    ) -> None:
        directory = state_directory(settings)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        lock = os.path.join(directory, LOCK)
        self._stack.enter_context(
            lock_file.held(lock, "the agent's state directory", MOST_LOCK_WAIT_S)
        )
        connections = Connections()
        self._stack.callback(connections.close)  # behind the server, whose last replies they carry
        models = LoadedModels(directory, opener_of(settings, trust_of(settings), begun))
        end = threading.Timer(MOST_END_S, self._end)
        end.daemon = True
        self._stack.callback(end.cancel)
        self._stack.callback(models.close)
        models.restore(MOST_RESTORE_S, is_ended)
        # A call that is admitted has a thread at once: it may have to wait for its request.
        most = settings.most_calls + LEAVING_CALLS + MOST_WATCHES
        pool = futures.ThreadPoolExecutor(most, "call")
        self._stack.callback(pool.shutdown)
        self._stack.callback(end.start)
        self._stack.callback(models.end_runs)  # behind the captures, which shall not wait for them
        intake = self._intake(settings, directory)
        drains = self._drains(settings, directory)
        inner = self._inner_directory(directory)
        calls = Calls(max(settings.most_calls * 3 // 4, 1))  # of one user: others have the rest
        names = edge_service.SERVICE, device_service.SERVICE, inference_service.SERVICE
        health = HealthService(models, names)
        services = (
            EdgeService(models, intake),
            DeviceService(models, intake, drains),
            InferenceService(models),
            health,
        )
        handlers = [service.handler(calls) for service in services]
        self._start_server(settings, handlers, inner, pool, most)
        self._stack.callback(health.close)  # its watches would take the whole grace
        for name, path, rules, may_admin in doors_of(settings):
            if name in passed:
                listener = passed[name]
            else:
                listener = public_socket.listening(path, rules.socket_mode, replaces)
                self._stack.callback(public_socket.remove, path, public_socket.identity_of(path))
            door = Door(listener, rules, connections, inner, INNER_SOCKET, may_admin)
            self._stack.callback(door.close)
            address = os.path.abspath(listener.getsockname())
            served = "every call" if may_admin else "all calls but load and unload"
            log.info("Server listening on unix://%s (%s)", address, served)
        if settings.metrics:
            self._start_metrics(settings, replaces, models, intake)
            log.info("metrics: listening on %s", settings.metrics)

    def _intake(self, settings: Configuration, directory: str) -> CaptureIntake | None:
        if not settings.capture_directory:
            return None
        layout = layout_of(settings)
        intake = CaptureIntake(
            layout, buffering_of(settings), directory, settings.upload_is_success
        )
        self._stack.callback(intake.close)
        if settings.upload:
            os.makedirs(layout.root, exist_ok=True)
            period_s = (
                settings.capture_period_s
                if settings.upload_is_success
                else settings.upload_period_s
            )
            uploads = self._uploads(settings, period_s)
            uploads.start(layout.root, on_stored=intake.stored)
        return intake

    def _start_metrics(
        self,
        settings: Configuration,
        replaces: bool,
        models: LoadedModels,
        intake: CaptureIntake | None,
    ) -> None:
        from edgeward.agent.metrics import Metrics

        rules = doors_of(settings)[0][2]
        metrics = Metrics(settings.metrics, rules, replaces, models, intake)
        self._stack.callback(metrics.close)

    def _drains(self, settings: Configuration, directory: str) -> RingDrains | None:
        if not settings.drain:
            return None
        uploads = self._uploads(settings, settings.upload_period_s) if settings.upload else None
        folder = os.path.join(settings.capture_prefix, settings.fleet, SEGMENTS, settings.device)

        def carry(captures: str) -> None:
            if uploads is not None:
                prefix = os.path.normpath(os.path.join(folder, rings.name_of(captures)))
                uploads.start(captures, prefix=prefix + "/", suffix=_core.SEALED_SUFFIX)

        drains = RingDrains(
            rings_of(settings),
            directory,
            Limits(settings.drain_bytes, settings.drain_age_s),
            settings.capture_directory,
            carry,
        )
        self._stack.callback(drains.close)
        return drains

    def _uploads(self, settings: Configuration, period_s: float) -> "Uploads":
        from edgeward.agent.upload_store import upload_store
        from edgeward.agent.uploads import Uploads

        uploads = Uploads(upload_store(settings, os.environ), period_s)
        self._stack.callback(uploads.close)
        return uploads

    def _end(self) -> None:
        """Ends the process: nothing else ends a load or a run in it.

        What the agent remembers, and the captures that it took, are on the disk by now.
        """
        log.warning("ended while a load or a run took more than %.0f s", MOST_END_S)
        os._exit(0 if self._is_made else 1)

    def _inner_directory(self, directory: str) -> str:
        """The directory of the server's own socket, by a path that is short whatever it is."""
        path = os.path.join(directory, INNER_DIRECTORY)
        os.makedirs(path, mode=0o700, exist_ok=True)
        os.chmod(path, 0o700)
        for name in os.listdir(path):  # of an agent that was killed
            os.unlink(os.path.join(path, name))
        number = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._stack.callback(os.close, number)
        return f"/proc/self/fd/{number}"

    def _start_server(
        self,
        settings: Configuration,
        handlers: Sequence[grpc.GenericRpcHandler],
        inner: str,
        pool: futures.ThreadPoolExecutor,
        most_calls: int,
    ) -> None:
        options = (
            ("grpc.max_receive_message_length", settings.most_message_bytes),
            ("grpc.max_concurrent_streams", MOST_STREAMS),
        )
        server = grpc.server(
            pool,
            handlers,
            options=options,
            maximum_concurrent_rpcs=most_calls,
        )
        server.add_insecure_port(f"unix:{inner}/{INNER_SOCKET}")
        server.start()
        self._stack.callback(_stop, server)


def _stop(server: grpc.Server) -> None:
    """Lets calls end. A server that does not end keeps no capture from the disk."""
    if not server.stop(GRACE_S).wait(GRACE_S + MOST_END_S):
        log.warning("gRPC server: expected its end within %.0f s", GRACE_S + MOST_END_S)


def trust_of(settings: Configuration) -> Trust | None:
    """The trust directory; none where bare models are allowed and there is no such directory."""
    if settings.unsigned and not settings.trust:
        try:
            return Trust()
        except OSError:
            return None
    return Trust(settings.trust or None)


def opener_of(
    settings: Configuration, trust: Trust | None, begun: Iterable[WorkerProgram] = ()
) -> ModelOpener:
    run_time_s = float(settings.most_run_s) if settings.workers else None
    return ModelOpener(trust, settings.unsigned, run_time_s, begun)


def rings_of(settings: Configuration) -> str:
    """The directory below which programs' rings are."""
    return os.path.abspath(settings.rings or rings.base_directory())


def layout_of(settings: Configuration) -> Layout:
    return Layout(
        os.path.abspath(settings.capture_directory),
        settings.capture_prefix,
        settings.fleet,
        settings.device,
        settings.capture_embed_bytes,
    )


def buffering_of(settings: Configuration) -> Buffering:
    return Buffering(
        settings.capture_buffer,
        settings.capture_buffer_bytes,
        settings.capture_batch,
        settings.capture_period_s,
    )


def doors_of(settings: Configuration) -> list[tuple[str, str, Rules, bool]]:
    """Each door: its name, its path, who may come in, and whether they may load and unload."""
    most = settings.most_connections
    users = Rules(_uids(settings.users), _gids(settings.groups), most)
    admins = Rules(_uids(settings.admin_users), _gids(settings.admin_groups), most)
    if not settings.admin_socket:
        return [("data", settings.socket, admins, True)]
    return [
        ("data", settings.socket, users, False),
        ("admin", settings.admin_socket, admins, True),
    ]


def _uids(names: Collection[str]) -> frozenset[int]:
    return _numbers("users", names, lambda name: pwd.getpwnam(name).pw_uid)


def _gids(names: Collection[str]) -> frozenset[int]:
    return _numbers("groups", names, lambda name: grp.getgrnam(name).gr_gid)


def _numbers(noun: str, names: Collection[str], number_of: Callable[[str], int]) -> frozenset[int]:
    try:
        return frozenset(int(name) if name.isdecimal() else number_of(name) for name in names)
    except KeyError as error:
        raise BadInput(f"{noun}: expected {noun} of this machine: {error.args[0]}") from None
