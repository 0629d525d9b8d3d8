"""Jobs as Ray tasks.

The jobs are tasks without state rather than actors: Ray retries a task elsewhere after its process or node died,
spreads tasks over nodes that join later, and reuses worker processes, so that a loaded backbone stays loaded.
An actor is lost with its node, and a pool of actors would have to be monitored and refilled here.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from vitsplice.contracts import Job, Outcome
from vitsplice.errors import Argument, ConfigError, VitspliceError, reason
from vitsplice.text import one_line

Work = Callable[[Job], Outcome]

POLL_SECONDS = 5.0
"""Time between two checks of the size of the cluster."""

MAX_TASKS = 10_000
"""Maximum number of tasks in Ray at a time."""

TIMEOUT = 10.0
"""Timeout in seconds of each of two waits: for the connection to a cluster, and for its first bytes."""

HTTP2_SETTINGS = b"\0\0\0\4\0\0\0\0\0"
"""An empty SETTINGS frame of HTTP/2; byte 3 is the type. Client and server send one first (RFC 9113, section 3.4)."""

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HTTP2_SETTINGS
"""The first bytes of a client of HTTP/2."""

LOCAL = "local"
"""The address that starts a cluster on this machine."""


@dataclass(frozen=True)
class RunResources:
    """Resources that a run takes of its node.

    Args:
        cpus: number of CPUs.
        gpus: a fraction of one GPU, or a whole number of GPUs.
        custom: amounts of custom resources by name.
    """

    cpus: float
    gpus: float
    custom: Mapping[str, float]

    def fit(self, node: Mapping[str, float]) -> int:
        """Return the number of runs that fit on an idle node; ``node`` has its total amount of each resource."""
        # 1e-9 compensates rounding: 0.3 / 0.1 is less than 3
        return int(min(node.get(name, 0.0) / amount + 1e-9 for name, amount in self._amounts().items()))

    def _amounts(self) -> dict[str, float]:
        amounts = {"CPU": self.cpus, "GPU": self.gpus, **self.custom}
        return {name: amount for name, amount in amounts.items() if amount > 0}

    def __str__(self) -> str:
        return ", ".join(f"{name} {amount:g}" for name, amount in self._amounts().items())


@dataclass(frozen=True)
class RayExecutor:
    """Executor on a Ray cluster.

    Args:
        workers: maximum number of runs at a time; 0: as many as the cluster has room for.
        threads: CPU threads of each run.
        address: address of a cluster, ``auto``, or ``local``.
        resources: resources that a run takes of its node.
        node_losses: number of further attempts at a run whose process or node died.
        ahead: without ``workers``, number of runs queued in Ray per run that the cluster has room for.
    """

    workers: int
    threads: int
    address: str
    resources: RunResources
    node_losses: int
    ahead: float

    def run(self, work: Work, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Run the jobs: see `vitsplice.contracts.Executor`."""
        with self._connected() as (ray, may_grow):
            task = self._task(ray, work)
            pending, submitted, limits = iter(jobs), dict[Any, str](), self._limits(ray, may_grow)
            try:
                while True:
                    while len(submitted) < next(limits) and (job := next(pending, None)):
                        submitted[task.remote(job)] = job.id
                    if not submitted:
                        return
                    ready, _ = ray.wait(list(submitted), num_returns=1, timeout=1.0)
                    if ready:  # then take all that are ready, because waiting on thousands is slow
                        ready, _ = ray.wait(list(submitted), num_returns=len(submitted), timeout=0)
                    for reference in ready:
                        yield _outcome(ray, reference, submitted.pop(reference))
            finally:
                for reference in submitted:
                    ray.cancel(reference, force=True)

    def _task(self, ray: Any, work: Work) -> Any:
        """Return the work as a remote function. Raises ConfigError for amounts that Ray does not accept."""
        try:
            return ray.remote(work).options(
                num_cpus=self.resources.cpus,
                num_gpus=self.resources.gpus,
                resources=dict(self.resources.custom) or None,
                max_retries=self.node_losses,
            )
        except (OverflowError, ValueError) as error:
            raise ConfigError(
                f"Ray does not accept {self.resources} ({one_line(str(error))}); change ",
                Argument("option"),
                " cpus, gpus or resources",
            ) from error

    def _limits(self, ray: Any, may_grow: bool) -> Iterator[int]:
        """Yield the current limit of tasks in Ray. Raises VitspliceError if a cluster that cannot grow has no room."""
        next_check, room, warned = 0.0, 0, False
        while True:
            if time.monotonic() >= next_check:
                nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
                room, next_check = sum(map(self.resources.fit, nodes)), time.monotonic() + POLL_SECONDS
                if not room and not may_grow:
                    raise self._no_room(nodes)
                if not room and not warned:
                    logging.getLogger(__name__).warning(
                        "waiting for a new node: none has room for a run that takes %s", self.resources
                    )
                warned = not room
            yield self._limit(room)

    def _no_room(self, nodes: Iterable[Mapping[str, float]]) -> VitspliceError:
        """Return the error for a cluster on this machine that has no room for a run."""
        problem = f"Ray has no room on this machine for a run that takes {self.resources}; "
        if absent := sorted(self.resources.custom.keys() - set().union(*nodes)):
            return VitspliceError(
                f"{problem}only an existing cluster can have {', '.join(absent)}; give its address with ",
                Argument("option", "address=host:port"),
            )
        return VitspliceError(
            f"{problem}use fewer ",
            Argument("threads"),
            ", or smaller values of ",
            Argument("option"),
            " cpus, gpus or resources",
        )

    def _limit(self, room: int) -> int:
        """Return the maximum number of tasks in Ray, at least 1, so that without room one task waits for a node."""
        return min(MAX_TASKS, self.workers or max(1, int(room * (1 + self.ahead))))

    @contextmanager
    def _connected(self) -> Iterator[tuple[Any, bool]]:
        """Connect to Ray until the end of the block, unless the host program is already connected.

        Yields:
            The module ray, and whether other nodes may join: False only for a cluster started here.
        """
        ray = _import_ray()
        connected = ray.is_initialized()
        if not connected:
            local: dict[str, Any] = {"include_dashboard": False} if self.address == LOCAL else {}
            if local and self.workers:
                local["num_cpus"] = math.ceil(self.workers * self.resources.cpus)
            try:
                _check_address(self.address)
                with _sigterm_blocked() if local else nullcontext(), _sigterm_restored():
                    ray.init(address=self.address, log_to_driver=False, logging_level=logging.ERROR, **local)
            except (OSError, OverflowError, RuntimeError, ValueError) as error:
                raise self._unreachable(one_line(str(error))) from error
        try:
            with nullcontext() if connected else _messages_logged(ray):
                yield ray, connected or self.address != LOCAL
        finally:
            if not connected:
                ray.shutdown()

    def _unreachable(self, problem: str) -> VitspliceError:
        if self.address == LOCAL:
            return VitspliceError(f"Ray cannot start on this machine ({problem})")
        return VitspliceError(
            f"Ray cannot be reached at '{self.address}' ({problem}); give the address of a cluster with ",
            Argument("option", "address=host:port"),
            ", or start one on this machine with ",
            Argument("option", "address=local"),
        )


def _import_ray() -> Any:
    """Set environment variables that Ray reads, and import it. Raises VitspliceError if the import fails."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # without it Ray warns of a future default
    try:
        import ray
    except Exception as error:  # a broken installation may raise any exception
        advice = "install it: pip install 'ray>=2.40'"
        raise VitspliceError(f"Ray cannot be imported ({reason(error)}); {advice}") from error
    return ray


def _check_address(address: str) -> None:
    """Raise OSError unless a gRPC server, such as Ray's, answers at ``host:port``; Ray itself would try for minutes.

    The connection may take up to `TIMEOUT`, and so may the answer. With ``RAY_USE_TLS`` any answer is accepted. An
    address without host and port is not checked.
    """
    address = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if not host or not port.isdigit():
        return
    with socket.create_connection((host.strip("[]"), int(port)), timeout=TIMEOUT) as connection:
        connection.sendall(HTTP2_PREFACE)
        header = _receive(connection, len(HTTP2_SETTINGS))
    encrypted = os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")
    if header[3:4] != HTTP2_SETTINGS[3:4] and not encrypted:
        raise OSError("the server there is not Ray")


def _receive(connection: socket.socket, number: int) -> bytes:
    """Receive ``number`` bytes, or fewer if the server closes the connection. Raises OSError after `TIMEOUT`."""
    received, deadline = b"", time.monotonic() + TIMEOUT
    while len(received) < number:
        try:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            piece = connection.recv(number - len(received))
        except TimeoutError as error:
            raise OSError(f"the server there did not answer within {TIMEOUT:g} seconds") from error
        if not piece:
            break
        received += piece
    return received


@contextmanager
def _sigterm_restored() -> Iterator[None]:
    """Restore the handler of SIGTERM, which Ray replaces."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _sigterm_blocked() -> Iterator[None]:
    """Block SIGTERM in this thread, and in the processes started meanwhile, which inherit the block.

    A scheduler that sends SIGTERM to all processes at once then stops only the driver, not the cluster that it started.
    Ray's own SIGTERM is blocked too: its processes end only when Ray kills them, so ``ray.shutdown`` takes some seconds
    longer.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _messages_logged(ray: Any) -> Iterator[None]:
    """Log Ray's long messages about lost nodes instead of printing them to standard output."""
    worker = ray._private.worker
    before = getattr(worker, "print_to_stdstream", None)

    def log(data: Mapping[str, Any], *rest: Any, **more: Any) -> None:
        logging.getLogger(__name__).info("%s", "\n".join(data["lines"]))

    worker.print_to_stdstream = log
    try:
        yield
    finally:
        worker.print_to_stdstream = before


def _outcome(ray: Any, reference: Any, job: str) -> Outcome:
    """Return the outcome of a task; if Ray gave up on the task, an outcome ``failed``."""
    try:
        outcome: Outcome = ray.get(reference)
    except ray.exceptions.RayError as error:
        return Outcome(job, "failed", reason(error))
    return outcome
