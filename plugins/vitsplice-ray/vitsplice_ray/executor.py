"""Jobs as Ray tasks.

Tasks without a state, not actors: Ray gives a task whose process or node died to another by itself, spreads tasks over
nodes that join later, and keeps worker processes for tasks that follow, so that what a process has loaded stays there.
An actor would be lost with its node, and a pool of them would have to be watched and filled up by us.
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
from vitsplice.errors import VitspliceError
from vitsplice.text import one_line

Work = Callable[[Job], Outcome]

LOOKS = 5.0
"""Seconds between looks at the size of the cluster."""

MOST = 10_000
"""Tasks in Ray at once, however large the cluster."""

PATIENCE = 10.0
"""Seconds within which a cluster must accept a connection, and again within which it must answer."""

SETTINGS = b"\0\0\0\4\0\0\0\0\0"
"""An empty settings frame of HTTP/2, with which each side begins (RFC 9113, section 3.4); the byte 4 is its type."""

HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SETTINGS
"""With which a client of HTTP/2 begins."""

LOCAL = "local"
"""The address that starts a cluster of this machine alone."""


@dataclass(frozen=True)
class Task:
    """What a run takes of its node, and how often Ray tries it again when that dies."""

    cpus: float
    gpus: float
    resources: Mapping[str, float]
    node_losses: int

    def room(self, node: Mapping[str, float]) -> int:
        """How many there is room for on a node of these resources."""
        return int(min(node.get(name, 0.0) / amount + 1e-9 for name, amount in self._wanted().items()))

    def _wanted(self) -> dict[str, float]:
        wanted = {"CPU": self.cpus, "GPU": self.gpus, **self.resources}
        return {name: amount for name, amount in wanted.items() if amount > 0}

    def __str__(self) -> str:
        return ", ".join(f"{name} {amount:g}" for name, amount in self._wanted().items())


@dataclass(frozen=True)
class Ray:
    """See the module.

    Args:
        workers: how many runs at once at most; 0 is as many as there is room for.
        threads: of each run.
        address: of a cluster, or ``auto``, or ``local``.
        task: what a run takes.
        ahead: how many more runs wait in Ray, for each that there is room for.
    """

    workers: int
    threads: int
    address: str
    task: Task
    ahead: float

    def run(self, work: Work, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Do the jobs: see `vitsplice.contracts.Executor`."""
        with self._connected() as ray:
            task = ray.remote(work).options(
                num_cpus=self.task.cpus,
                num_gpus=self.task.gpus,
                resources=dict(self.task.resources) or None,
                max_retries=self.task.node_losses,
            )
            waiting, flying, most = iter(jobs), dict[Any, str](), self._sizes(ray)
            try:
                while True:
                    while len(flying) < next(most) and (job := next(waiting, None)):
                        flying[task.remote(job)] = job.id
                    if not flying:
                        return
                    ready, _ = ray.wait(list(flying), num_returns=1, timeout=1.0)
                    if ready:  # and all others that are, as a look at thousands takes its time
                        ready, _ = ray.wait(list(flying), num_returns=len(flying), timeout=0)
                    for reference in ready:
                        yield _outcome(ray, reference, flying.pop(reference))
            finally:
                for reference in flying:
                    ray.cancel(reference, force=True)

    def _sizes(self, ray: Any) -> Iterator[int]:
        """How many tasks to have in Ray, again and again. Raises VitspliceError if this machine has room for none."""
        look, room, told = 0.0, 0, False
        while True:
            if time.monotonic() >= look:
                nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
                room, look = sum(map(self.task.room, nodes)), time.monotonic() + LOOKS
                if not room and self.address == LOCAL:
                    raise VitspliceError(
                        f"Ray has no room on this machine for a run that takes {self.task}; "
                        "lower --threads, or --option cpus, gpus or resources"
                    )
                if not room and not told:
                    logging.getLogger(__name__).warning("waiting: no node has room for a run that takes %s", self.task)
                told = not room
            yield self._most(room)

    def _most(self, room: int) -> int:
        """How many tasks to have in Ray at once; one at least, which waits where there is no room yet."""
        return self.workers or min(MOST, max(1, int(room * (1 + self.ahead))))

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """Ray, connected for as long as it is needed, or as the host program has connected it."""
        ray = _imported()
        theirs = ray.is_initialized()
        if not theirs:
            here: dict[str, Any] = {"include_dashboard": False} if self.address == LOCAL else {}
            if here and self.workers:
                here["num_cpus"] = math.ceil(self.workers * self.task.cpus)
            try:
                _knock(self.address)
                with _sigterm_kept():
                    ray.init(address=self.address, log_to_driver=False, logging_level=logging.ERROR, **here)
            except (OSError, OverflowError, RuntimeError, ValueError) as error:
                raise VitspliceError(
                    f"Ray cannot be reached at '{self.address}' ({one_line(str(error))}); "
                    "--option address=host:port names a cluster, address=local starts one here"
                ) from error
        try:
            with nullcontext() if theirs else _quiet(ray):
                yield ray
        finally:
            if not theirs:
                ray.shutdown()


def _imported() -> Any:
    """Ray, with settings that it reads from the environment. Raises VitspliceError if it is not there."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns of what it will change
    try:
        import ray
    except ImportError as error:
        raise VitspliceError(
            f"Ray cannot be imported ({one_line(str(error))}); install it: pip install 'ray>=2.40'"
        ) from error
    return ray


def _knock(address: str) -> None:
    """Raises OSError unless a server of gRPC, as Ray's are, answers at ``host:port``; Ray itself would try for minutes.

    It takes `PATIENCE` at most to connect, and as long again for an answer.
    """
    address = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if not host or not port.isdigit():
        return
    with socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE) as connection:
        connection.sendall(HELLO)
        header = _received(connection, len(SETTINGS))
    encrypted = os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")
    if header[3:4] != SETTINGS[3:4] and not encrypted:
        raise OSError("what listens there is not Ray")


def _received(connection: socket.socket, number: int) -> bytes:
    """So many bytes, or fewer if the other side closes. Raises OSError if they do not come within `PATIENCE`."""
    received, until = b"", time.monotonic() + PATIENCE
    while len(received) < number:
        try:
            connection.settimeout(max(0.01, until - time.monotonic()))
            piece = connection.recv(number - len(received))
        except TimeoutError as error:
            raise OSError(f"something listens there and did not answer within {PATIENCE:g} seconds") from error
        if not piece:
            break
        received += piece
    return received


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Ray takes SIGTERM, which is the host program's, for its own."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Ray prints pages on every node that is lost, on standard output; here they go to the log, as information."""
    within = ray._private.worker
    before = getattr(within, "print_to_stdstream", None)

    def log(data: Mapping[str, Any], *rest: Any, **more: Any) -> None:
        logging.getLogger(__name__).info("%s", "\n".join(data["lines"]))

    within.print_to_stdstream = log
    try:
        yield
    finally:
        within.print_to_stdstream = before


def _outcome(ray: Any, reference: Any, job: str) -> Outcome:
    """What a task gave, or why it gave nothing."""
    try:
        outcome: Outcome = ray.get(reference)
    except ray.exceptions.RayError as error:
        return Outcome(job, "failed", one_line(f"{type(error).__name__}: {error}"))
    return outcome
