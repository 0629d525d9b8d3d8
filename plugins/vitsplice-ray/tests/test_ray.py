"""The Ray executor, and batches whose worker processes, nodes or driver are killed."""

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import batches
import pytest
import vitsplice_ray
from vitsplice_ray import executor

from vitsplice.cli import main
from vitsplice.contracts import Job, Outcome
from vitsplice.errors import ConfigError, VitspliceError
from vitsplice.options import complete
from vitsplice.testing import ExecutorContract

PAIRS = 2
WORKER = "ray::run_job"
SEAT = {"resources": {"seat": 1}, "object_store_memory": 80 * 2**20}
"""Arguments of a node with 1 unit of the custom resource ``seat``."""


@pytest.fixture(scope="module", autouse=True)
def _workers_of_normal_priority():
    """Keep Ray from lowering the priority of its worker processes, which makes them slow on a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        yield


@pytest.fixture(scope="module")
def cluster():
    """A node with 2 CPUs and 1 ``seat``."""
    before = dict(os.environ)
    os.environ.update(batches.environment())
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"})
    from ray.cluster_utils import Cluster

    unused = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
    head = {"num_cpus": 2, **unused, **SEAT}
    started = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield started
    finally:
        started.shutdown()
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="class")
def connection(cluster):
    """Connect this process to the cluster, as a host program would."""
    with executor_with(address=cluster.address)._connected():
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("connection")
class TestRay(ExecutorContract):
    name = "ray"
    timeout = 30.0
    options: ClassVar = {"node_losses": 0}

    def test_job_whose_process_is_killed_runs_again_in_another_one(self, tmp_path):
        def die_once(job):
            if not (marker := Path(job.folder, "begun")).exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return Outcome(job.id, "done")

        job = Job("one", str(tmp_path), {}, "", 1, "")
        assert list(executor_with(node_losses=1).run(die_once, [job])) == [Outcome("one", "done")]
        assert (tmp_path / "begun").exists()


def executor_with(workers=0, threads=0, **options):
    (spec,) = vitsplice_ray.vitsplice_executors()
    return spec.build(workers, threads, complete(spec, options))


@pytest.mark.parametrize(
    ("ray_executor", "nodes", "tasks"),
    [
        (executor_with(), [{"CPU": 8.0}], 16),
        (executor_with(ahead=0), [{"CPU": 8.0}], 8),
        (executor_with(ahead=0), [{"CPU": 0.0}, {"CPU": 1.0}, {"CPU": 3.0}], 4),
        (executor_with(threads=3, ahead=0), [{"CPU": 8.0}], 2),
        (executor_with(threads=3, ahead=0), [{"CPU": 2.0}, {"CPU": 2.0}, {"CPU": 5.0}], 1),
        (executor_with(threads=3, cpus=0.5, ahead=0), [{"CPU": 8.0}], 16),
        (executor_with(gpus=0.1, ahead=0), [{"CPU": 64.0, "GPU": 1.0}], 10),
        (executor_with(gpus=0.5, ahead=0), [{"CPU": 64.0, "GPU": 4.0}], 8),
        (executor_with(gpus=1), [{"CPU": 64.0}], 1),
        (executor_with(resources={"spot": 2}, ahead=0), [{"CPU": 64.0, "spot": 6.0}], 3),
        (executor_with(workers=5), [{"CPU": 64.0}], 5),
        (executor_with(), [{"CPU": 1e4}] * 100, 10_000),
        (executor_with(workers=20_000), [{"CPU": 1e4}] * 100, 10_000),
        (executor_with(), [], 1),
    ],
)
def test_limit_of_tasks_follows_the_room_in_the_cluster(ray_executor, nodes, tasks):
    assert ray_executor._limit(sum(map(ray_executor.resources.fit, nodes))) == tasks


class Nodes:
    """Stand-in for the module ray: nodes with the given numbers of CPUs, and a dead node."""

    def __init__(self, *cpus):
        self.all = [{"Alive": True, "Resources": {"CPU": float(number)}} for number in cpus]
        self.all.append({"Alive": False, "Resources": {"CPU": 64.0}})

    def nodes(self):
        return self.all


def use_fake_ray(monkeypatch, init, connected=False):
    ray = SimpleNamespace(
        is_initialized=lambda: connected,
        init=init,
        shutdown=lambda: None,
        _private=SimpleNamespace(worker=SimpleNamespace()),
    )
    monkeypatch.setattr(executor, "_import_ray", lambda: ray)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.parametrize(("address", "blocked"), [("local", True), ("auto", False)])
def test_only_a_cluster_that_is_started_here_inherits_a_block_of_sigterm(monkeypatch, address, blocked):
    def sigterm_is_blocked():
        return signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, [])

    states = []
    use_fake_ray(monkeypatch, lambda **options: states.append(sigterm_is_blocked()))
    with executor_with(address=address)._connected():
        states.append(sigterm_is_blocked())
    assert states == [blocked, False]


def test_sigterm_while_a_cluster_is_started_here_reaches_the_handler_of_the_driver(monkeypatch):
    def init(**options):
        signal.signal(signal.SIGTERM, lambda *_: handlers.append("of Ray"))
        signal.raise_signal(signal.SIGTERM)

    handlers = []
    use_fake_ray(monkeypatch, init)
    before = signal.signal(signal.SIGTERM, lambda *_: handlers.append("of the driver"))
    try:
        with executor_with(address="local")._connected():
            assert handlers == ["of the driver"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_machine_without_room_is_an_error_and_cluster_without_room_is_waited_for(caplog):
    with pytest.raises(VitspliceError, match="takes CPU 4; use fewer threads, or smaller values of option cpus"):
        next(executor_with(threads=4)._limits(Nodes(2), may_grow=False))
    assert next(executor_with(threads=4)._limits(Nodes(2, 3), may_grow=True)) == 1
    assert "none has room for a run that takes CPU 4" in caplog.text


def test_custom_resource_that_this_machine_lacks_is_reported_with_the_address_of_a_cluster():
    with pytest.raises(
        VitspliceError, match="only an existing cluster can have spot; give its address with option='?address="
    ):
        next(executor_with(resources={"spot": 2})._limits(Nodes(8), may_grow=False))


@pytest.mark.parametrize(
    ("connected", "address", "may_grow"), [(True, "local", True), (False, "local", False), (False, "auto", True)]
)
def test_only_a_cluster_that_is_started_here_cannot_grow(connected, address, may_grow, monkeypatch):
    use_fake_ray(monkeypatch, lambda **_: None, connected)
    monkeypatch.setattr(executor, "_check_address", lambda address: None)
    with executor_with(address=address)._connected() as (_, grows):
        assert grows is may_grow


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("local", r"^Ray cannot start on this machine \(no raylet\)$"),
        ("auto", "Ray cannot be reached at 'auto' .* start one on this machine with"),
    ],
)
def test_failed_start_is_reported_with_advice_for_the_address(address, message, monkeypatch):
    def init(**_):
        raise RuntimeError("no raylet")

    monkeypatch.setattr(executor, "_import_ray", lambda: SimpleNamespace(is_initialized=lambda: False, init=init))
    monkeypatch.setattr(executor, "_check_address", lambda address: None)
    with pytest.raises(VitspliceError, match=message):
        list(executor_with(address=address).run(print, []))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resources": {"spot": float("inf")}}, "spot: inf is not allowed; give .* a finite number of at least 0.0001"),
        ({"resources": {"spot": float("nan")}}, "spot: nan is not allowed"),
        ({"resources": {"spot": 0.00001}}, "spot: 1e-05 is not allowed"),
        ({"resources": {"CPU": 1}}, "CPU: 1 is not allowed; .* options cpus and gpus"),
        ({"resources": {"memory": 1}}, "memory: 1 is not allowed; .* memory cannot be given"),
        ({"resources": {"object_store_memory": 1}}, "object_store_memory: 1 is not allowed"),
        ({"cpus": 0.00001}, "cpus: 1e-05 is not allowed; give 0, or a number of at least 0.0001"),
        ({"cpus": 1e-320}, "cpus: 1e-320 is not allowed; give 0, or a number of at least 0.0001"),
        ({"gpus": 0.00001}, "gpus: 1e-05 is not allowed"),
        ({"gpus": float("inf")}, "gpus: inf is not allowed"),
        ({"cpus": float("nan")}, "cpus: nan is not allowed"),
    ],
)
def test_resources_that_ray_cannot_count_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        executor_with(**options)


@pytest.mark.slow
def test_amounts_that_ray_refuses_are_reported():
    ray = pytest.importorskip("ray")
    with pytest.raises(ConfigError, match=r"Ray does not accept CPU 1, TPU 1\.5 \(.*; change option cpus, gpus or"):
        executor_with(resources={"TPU": 1.5})._task(ray, vitsplice_ray.build)


def test_fractions_of_several_gpus_are_refused():
    with pytest.raises(ConfigError, match=r"gpus: 1\.5 is not allowed; give a fraction of one GPU"):
        executor_with(gpus=1.5)
    assert executor_with(gpus=2).resources.gpus == 2


@pytest.mark.parametrize("module", [None, "raise ImportError('libsomething is missing')", "raise OSError('no')"])
def test_missing_ray_is_reported_with_the_package_to_install(module, monkeypatch, tmp_path):
    if module:
        (tmp_path / "ray.py").write_text(module)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "ray", raising=False)
    else:
        monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(VitspliceError, match="pip install 'ray>=2.40'"):
        list(executor_with().run(print, []))


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    from resumable import Processes

    return Processes(tmp_path_factory.getbasetemp() / "cache")


@pytest.fixture(scope="module")
def undisturbed(processes, tmp_path_factory):
    """A manifest and the folder of an uninterrupted batch of it, not on Ray."""
    folder = tmp_path_factory.mktemp("undisturbed")
    pairs = batches.write_pairs(folder / "pairs", PAIRS)
    batches.run_in_turn(processes, pairs, folder / "out")
    return pairs, folder / "out"


@pytest.mark.slow
@pytest.mark.kill
def test_run_resumes_on_another_node_after_its_node_is_killed(cluster, processes, undisturbed, tmp_path):
    """With ``--retries 0`` the driver does not repeat the lost run, so Ray itself moves it to another node."""
    pairs, expected = undisturbed
    out = tmp_path / "out"
    node = cluster.add_node(num_cpus=1, **SEAT)
    options = (f"address={cluster.address}", "resources={seat: 1}")
    words = ("--executor", "ray", "--retries", "0", *(f"--option={option}" for option in options))
    process = batches.start_batch(processes, pairs, out, *words)
    try:
        batches.wait_until(lambda: all(runs_on_and_off(node, out)))
        ((lost, folder),), _ = (runs.items() for runs in runs_on_and_off(node, out))
    finally:
        cluster.remove_node(node, allow_graceful=False)
    lost.wait(60)  # this worker process outlives its raylet for a while, in which an awake run could finish
    batches.wake(pairs)
    printed, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert printed == f"{out / 'results.jsonl'}\n"  # Ray must not print anything to standard output
    assert batches.resumed_at(folder) >= 2
    batches.assert_complete(out, expected)


def runs_on_and_off(node, out):
    """Folders of the runs with a checkpoint, by process: of those on a node, and of all others."""
    raylet = node.all_processes["raylet"][0].process.pid
    runs = batches.processes_with_checkpoint(out, WORKER)
    on_node = {process: folder for process, folder in runs.items() if process.ppid() == raylet}
    return on_node, {process: folder for process, folder in runs.items() if process not in on_node}


@pytest.mark.slow
@pytest.mark.kill
def test_job_ends_when_its_driver_is_killed(cluster, processes, tmp_path):
    batches.assert_job_ends_with_its_driver(
        processes, tmp_path, "ray::run_short_or_endless", "ray", address=cluster.address
    )


@pytest.mark.slow
@pytest.mark.kill
def test_batch_on_a_cluster_of_this_machine_is_stopped_by_sigterm_and_resumed(processes, undisturbed, tmp_path):
    pairs, expected = undisturbed
    out = tmp_path / "out"
    process = batches.start_batch(processes, pairs, out, "--executor", "ray", "--workers", "1")
    _, first = batches.wait_for_checkpoint(out, WORKER)
    batches.wake_one(pairs)
    _, stopped = batches.wait_for_checkpoint(out, WORKER, but=first)
    begun = batches.begun_at(stopped)
    process.terminate()
    printed, errors = process.communicate(timeout=100)
    assert process.returncode == 130, errors
    assert printed == f"{out / 'results.jsonl'}\n"
    assert "the same command resumes" in errors
    assert not (out / ".stop").exists()
    assert (first / "output.png").exists()
    assert list(stopped.glob("checkpoint/step-*.json"))
    assert batches.begun_at(stopped) == begun

    process = batches.start_batch(processes, pairs, out, "--executor", "ray", "--workers", "1")
    batches.wake(pairs)
    printed, errors = process.communicate(timeout=200)
    assert (process.returncode, printed) == (0, f"{out / 'results.jsonl'}\n"), errors
    assert batches.resumed_at(stopped) >= 2
    batches.assert_complete(out, expected)


@pytest.mark.slow
def test_unreachable_cluster_is_reported(tmp_path, capsys):
    pairs = batches.write_pairs(tmp_path / "pairs", 1)
    assert main(batches.words(pairs, tmp_path / "out", "--executor", "ray", "--option", "address=127.0.0.1:1")) == 1
    errors = capsys.readouterr().err
    assert "Ray cannot be reached at '127.0.0.1:1'" in errors
    assert "Traceback" not in errors


@pytest.fixture
def listener():
    """Address of a server, and the list of bytes that it sends to each client, empty unless a test extends it."""
    answers, accepted = [], []

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            accepted.append(connection)
            for answer in answers:
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}", answers
        server.shutdown(socket.SHUT_RDWR)
    thread.join()
    for connection in accepted:
        connection.close()


@pytest.mark.slow
def test_server_that_never_answers_fails_in_bounded_time(listener, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr(executor, "TIMEOUT", 0.5)
    start = time.monotonic()
    with pytest.raises(VitspliceError, match="the server there did not answer within 0.5 seconds"):
        list(executor_with(address=listener[0]).run(print, []))
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("answers", [[b"HTTP/1.1 400 Bad Request\r\n\r\n"], [b"SSH-2.0-other\r\n"]])
def test_server_of_another_protocol_is_reported(listener, answers):
    listener[1].extend(answers)
    with pytest.raises(OSError, match="not Ray"):
        executor._check_address(listener[0])


def test_server_that_sends_its_answer_byte_by_byte_is_accepted(listener):
    listener[1].extend(bytes([byte]) for byte in executor.HTTP2_SETTINGS)
    executor._check_address(listener[0])
