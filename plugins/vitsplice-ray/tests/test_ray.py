"""Ray, and what becomes of a batch when its processes, its nodes or its driver are killed."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import batches
import pytest
import vitsplice_ray
from vitsplice_ray import executor

from vitsplice.errors import VitspliceError
from vitsplice.options import complete
from vitsplice.testing import ExecutorContract

PAIRS = 3
WORKER = "ray::run_job"
LEAN = 80 * 2**20


@pytest.fixture(scope="module")
def cluster():
    """Three nodes: one where no run goes, and two with room for one each."""
    before = dict(os.environ)
    os.environ.update(batches.environment())
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"})
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": LEAN, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(2):
            made.add_node(num_cpus=1, object_store_memory=LEAN)
        yield made
    finally:
        made.shutdown()
        os.environ.clear()
        os.environ.update(before)


@pytest.mark.slow
class TestRay(ExecutorContract):
    name = "ray"
    patience = 30.0

    @pytest.fixture(autouse=True)
    def _on_a_cluster(self, cluster):
        self.options = {"node_losses": 0, "address": cluster.address}


def made(workers=0, threads=0, **options):
    (spec,) = vitsplice_ray.vitsplice_executors()
    return spec.build(workers, threads, complete(spec, options))


@pytest.mark.parametrize(
    ("executor", "nodes", "tasks"),
    [
        (made(), [{"CPU": 8.0}], 16),
        (made(ahead=0), [{"CPU": 8.0}], 8),
        (made(ahead=0), [{"CPU": 0.0}, {"CPU": 1.0}, {"CPU": 3.0}], 4),
        (made(threads=3, ahead=0), [{"CPU": 8.0}], 2),
        (made(threads=3, ahead=0), [{"CPU": 2.0}, {"CPU": 2.0}, {"CPU": 5.0}], 1),
        (made(threads=3, cpus=0.5, ahead=0), [{"CPU": 8.0}], 16),
        (made(gpus=0.1, ahead=0), [{"CPU": 64.0, "GPU": 1.0}], 10),
        (made(gpus=0.5, ahead=0), [{"CPU": 64.0, "GPU": 4.0}], 8),
        (made(gpus=1), [{"CPU": 64.0}], 1),
        (made(resources={"spot": 2}, ahead=0), [{"CPU": 64.0, "spot": 6.0}], 3),
        (made(workers=5), [{"CPU": 64.0}], 5),
        (made(), [{"CPU": 1e4}] * 100, 10_000),
        (made(), [], 1),
    ],
)
def test_tasks_in_ray_are_as_many_as_there_is_room_for_and_some(executor, nodes, tasks):
    assert executor._most(sum(map(executor.task.room, nodes))) == tasks


class Nodes:
    """What of Ray tells the nodes of a cluster."""

    def __init__(self, *cpus):
        self.all = [{"Alive": True, "Resources": {"CPU": float(number)}} for number in cpus]
        self.all.append({"Alive": False, "Resources": {"CPU": 64.0}})

    def nodes(self):
        return self.all


def test_a_machine_without_room_is_told_and_a_cluster_without_is_waited_for(caplog):
    with pytest.raises(VitspliceError, match="takes CPU 4; lower --threads"):
        next(made(threads=4)._sizes(Nodes(2)))
    assert next(made(threads=4, address="auto")._sizes(Nodes(2, 3))) == 1
    assert "no node has room for a run that takes CPU 4" in caplog.text


@pytest.mark.parametrize("broken", [None, "raise ImportError('libsomething.so is not there')"])
def test_without_ray_it_is_said_what_to_install(broken, monkeypatch, tmp_path):
    if broken:
        (tmp_path / "ray.py").write_text(broken)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "ray", raising=False)
    else:
        monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(VitspliceError, match="pip install 'ray>=2.40'"):
        list(made().run(print, []))


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """A manifest, and a batch of it that the local executor did and nothing disturbed."""
    folder = tmp_path_factory.mktemp("quiet")
    pairs = batches.made_pairs(folder / "pairs", PAIRS)
    done = batches.through(pairs, folder / "out", "--executor", "tiny-in-turn")
    assert done.returncode == 0, done.stderr
    return pairs, folder / "out"


def on(cluster):
    return "--executor", "ray", "--option", f"address={cluster.address}"


def ended(process, out):
    """To its end, and with nothing of Ray's on standard output."""
    printed, told = process.communicate(timeout=200)
    assert process.returncode == 0, told
    assert printed == f"{out / 'results.jsonl'}\n"


@pytest.mark.alone
@pytest.mark.kill
@pytest.mark.timeout(280)
def test_runs_on_ray_survive_what_kills_workers_nodes_and_drivers(cluster, quiet, tmp_path):
    """On one cluster of three nodes, one after another: starting it takes the most time.

    Each time it is a run with a checkpoint that is hit, and it must go on from there; without retries, so that it is
    Ray that gives it to another process or node.
    """
    pairs, expected = quiet

    out = tmp_path / "worker"
    process = batches.begun(pairs, out, *on(cluster), "--retries", "0")
    victim, folder = batches.one_at_work(out, WORKER)
    victim.kill()
    ended(process, out)
    assert batches.resumed_at(folder) >= 2
    batches.assert_whole(out, expected)

    out = tmp_path / "node"
    process = batches.begun(pairs, out, *on(cluster), "--retries", "0")
    victim, folder = batches.one_at_work(out, WORKER)
    cluster.remove_node(node_of(victim, cluster), allow_graceful=False)
    ended(process, out)
    assert batches.resumed_at(folder) >= 2
    batches.assert_whole(out, expected)
    cluster.add_node(num_cpus=1, object_store_memory=LEAN)

    out = tmp_path / "driver"
    process = batches.begun(pairs, out, *on(cluster), "--retries", "0")
    _, folder = batches.one_at_work(out, WORKER)
    batches.kill(process)
    process.communicate()
    batches.until(lambda: not batches.at_work(out, WORKER))  # Ray ends what belongs to nobody
    ended(batches.begun(pairs, out, *on(cluster), "--retries", "0"), out)
    assert batches.resumed_at(folder) >= 2
    batches.assert_whole(out, expected)


def node_of(process, cluster):
    """The node whose raylet is the parent of a process."""
    return next(node for node in cluster.worker_nodes if node.all_processes["raylet"][0].process.pid == process.ppid())


@pytest.mark.alone
@pytest.mark.kill
def test_a_signal_lets_runs_on_ray_keep_where_they_stand(cluster, quiet, tmp_path):
    out = tmp_path / "out"
    process = batches.begun(quiet[0], out, *on(cluster))
    _, folder = batches.one_at_work(out, WORKER)
    process.terminate()
    _, told = process.communicate(timeout=100)
    assert process.returncode == 130, told
    assert "the same command resumes" in told
    assert not (out / ".stop").exists()
    assert list(folder.glob("checkpoint/step-*.json"))


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_told(quiet, tmp_path):
    done = batches.through(quiet[0], tmp_path / "out", "--executor", "ray", "--option", "address=127.0.0.1:1")
    assert done.returncode == 1
    assert "Ray cannot be reached at '127.0.0.1:1'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def listener():
    """A socket that accepts connections and does with each what a test appends to ``answers``; by default nothing."""
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


def test_an_address_that_listens_and_never_answers_fails_in_bounded_time(listener, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr(executor, "PATIENCE", 0.5)
    began = time.monotonic()
    with pytest.raises(VitspliceError, match="something listens there and did not answer within 0.5 seconds"):
        list(made(address=listener[0]).run(print, []))
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("answers", [[b"HTTP/1.1 400 Bad Request\r\n\r\n"], [b"SSH-2.0-other\r\n"]])
def test_a_server_of_another_protocol_is_reported(listener, answers):
    listener[1].extend(answers)
    with pytest.raises(OSError, match="not Ray"):
        executor._knock(listener[0])


def test_a_server_that_answers_slowly_is_accepted(listener):
    listener[1].extend(bytes([byte]) for byte in executor.SETTINGS)
    executor._knock(listener[0])


@pytest.mark.slow
def test_a_cluster_of_this_machine_alone(tmp_path):
    script = Path(__file__).parents[3] / "examples" / "13_batch_overhead.py"
    command = [sys.executable, script, tmp_path, "--pairs", "12", "--executor", "ray"]
    done = subprocess.run(command, env=batches.environment(), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "ray: 12 pairs, 2 workers" in done.stdout
