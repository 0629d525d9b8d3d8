"""The command `vitsplice app`: access, port, what it prints, and its end."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
import webbrowser

import pytest
from batches import wait_until
from vitsplice_app import command, server
from vitsplice_app.account import AUTH_VARIABLE, Account
from vitsplice_app.command import _account, _announce
from vitsplice_app.workspace import NotRemoved

from vitsplice.cli import main
from vitsplice.errors import UserError
from vitsplice.plugins import catalogue

SERVE_AND_SIGNAL = """
import asyncio, os, sys, threading
from vitsplice_app import server

async def application(settings, workspace):
    return lambda scope, receive, send: asyncio.sleep(0)

server._application = application
timer = threading.Timer(0.1, os.kill, (os.getpid(), int(sys.argv[1])))
server.serve(server.ServerSettings(port=0), on_ready=lambda url: timer.start())
print("ended")
"""
"""Script that serves an application without answers, and sends the signal of its argument to its own process."""


def run(capsys, *arguments):
    code = main(["app", "--no-open", *arguments])
    return code, capsys.readouterr().err


@pytest.fixture
def taken():
    """Port that is in use."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_refusal_of_an_address_that_other_machines_reach_names_both_options(capsys):
    code, text = run(capsys, "--host", "0.0.0.0")
    assert code == 2
    assert "--auth USER" in text
    assert "--allow-anyone" in text


@pytest.mark.parametrize("name", ["absent", "file.txt"])
def test_results_must_be_in_a_folder(capsys, tmp_path, name):
    (tmp_path / "file.txt").write_text("no folder")
    code, text = run(capsys, "--folder", str(tmp_path / name))
    assert code == 2
    assert "there is no folder" in text


def test_port_in_use_is_an_error_that_names_the_option(capsys, taken):
    code, text = run(capsys, "--port", str(taken))
    assert code == 2
    assert f"cannot listen on 127.0.0.1, port {taken}: Address already in use; choose another --port" in text


def test_address_of_another_machine_is_an_error(capsys):
    code, text = run(capsys, "--host", "192.0.2.1", "--allow-anyone")
    assert code == 2
    assert "192.0.2.1 is not an address of this machine; choose another --host" in text


def test_unknown_host_is_an_error(capsys):
    code, text = run(capsys, "--host", "no such host", "--allow-anyone")
    assert code == 2
    assert "cannot listen on no such host: " in text
    assert "choose another --host" in text


@pytest.mark.parametrize("port", [-1, 70_000])
def test_number_that_is_no_port_is_an_error(port):
    with pytest.raises(UserError, match=f"port {port} is not allowed; choose one from 0 to 65535"):
        server.listen("127.0.0.1", port)


@pytest.mark.parametrize(
    ("families", "expected"),
    [
        ([socket.AF_INET6], socket.AF_INET6),
        ([socket.AF_INET6, socket.AF_INET], socket.AF_INET),
        ([socket.AF_INET], socket.AF_INET),
    ],
)
def test_family_is_that_of_an_address_of_the_host(families, expected, monkeypatch):
    addresses = [(family, socket.SOCK_STREAM, 6, "", ()) for family in families]
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port: addresses)
    assert server._family("name") == expected


def test_default_port_is_the_next_free_one(monkeypatch, taken):
    monkeypatch.setattr(server, "FIRST_PORT", taken)
    with server.listen("127.0.0.1", None) as listener:
        assert taken < listener.getsockname()[1] < taken + server.PORTS


def test_missing_gradio_is_an_error_with_the_command_that_installs_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    code, text = run(capsys)
    assert code == 2
    assert "gradio cannot be imported (ModuleNotFoundError: " in text
    assert "pip install 'gradio" in text


def test_broken_gradio_is_an_error_with_the_reason(capsys, monkeypatch, tmp_path):
    (tmp_path / "gradio.py").write_text("raise RuntimeError('torn')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "gradio", raising=False)
    code, text = run(capsys)
    assert code == 2
    assert "gradio cannot be imported (RuntimeError: torn); install it: pip install 'gradio" in text


@pytest.fixture
def _plugin_fails(monkeypatch):
    """The module of the command cannot be imported."""
    monkeypatch.setitem(sys.modules, "vitsplice_app.command", None)
    catalogue.cache_clear()
    yield
    catalogue.cache_clear()


@pytest.mark.usefixtures("_plugin_fails")
def test_command_of_a_plugin_that_failed_to_load_is_no_typing_mistake(capsys):
    code, text = run(capsys)
    assert code == 2
    reason = r"__init__\.py, line \d+: vitsplice_commands raised ModuleNotFoundError"
    assert re.search(f"vitsplice-app provides it, but failed to load: .*{reason}", text)
    assert "Reinstall it: pip install vitsplice-app" in text


def test_account_is_read_from_the_variable_and_checked(capsys, monkeypatch):
    monkeypatch.setenv(AUTH_VARIABLE, "ada:")
    code, text = run(capsys)
    assert code == 2
    assert "user:password" in text


def test_password_that_is_not_given_is_asked_for(monkeypatch):
    monkeypatch.setattr("typer.prompt", lambda text, hide_input: "secret" if hide_input else "")
    assert _account("ada") == Account("ada", "secret")
    assert _account(None) is None


def test_no_password_is_asked_for_without_a_user(monkeypatch):
    monkeypatch.setattr("typer.prompt", lambda *arguments, **settings: pytest.fail("asked for a password"))
    with pytest.raises(UserError, match="lacks a user"):
        _account("")


def test_empty_host_is_refused(capsys):
    code, text = run(capsys, "--host", "", "--allow-anyone")
    assert code == 2
    assert "the address to listen on is empty; give one, such as 127.0.0.1, with --host" in text


def test_page_is_served_while_the_browser_is_being_opened(monkeypatch):
    opened, served = threading.Event(), threading.Event()

    def open_page(url):
        opened.set()
        assert served.wait(10)

    monkeypatch.setattr(webbrowser, "open", open_page)
    announcing = threading.Thread(target=_announce, args=("http://127.0.0.1:1/", True))
    announcing.start()
    assert opened.wait(10)
    announcing.join(2)
    waiting = announcing.is_alive()
    served.set()
    announcing.join()
    assert not waiting


def test_folder_that_was_not_removed_is_named_at_the_end(capsys, monkeypatch):
    def serve(settings, on_ready):
        raise NotRemoved("the temporary folder /tmp/x could not be removed")

    def end(code):
        raise SystemExit(code)

    monkeypatch.setattr(server, "serve", serve)
    monkeypatch.setattr(command, "_end", end)
    assert main(["app", "--no-open"]) == 1
    output, text = capsys.readouterr()
    assert "removed" not in output
    assert text == "closed; the temporary folder /tmp/x could not be removed\n"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_the_server_and_remove_its_files(number, tmp_path):
    not_ignored = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # nohup ignores SIGHUP
    arguments = [sys.executable, "-c", not_ignored + SERVE_AND_SIGNAL, str(int(number))]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    ended = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ended\n", "")
    assert list(tmp_path.glob("vitsplice-app-*")) == []


def test_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with server._signals_as_interrupt():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.fixture
def process(processes, tmp_path):
    """The command as a process with a folder of its own for temporary files."""
    environment = processes.environment | {"TMPDIR": str(tmp_path)}
    started = processes.start(["app", "--no-open"], tmp_path, environment=environment)
    yield started
    started.communicate(0)


def first_line(process, path):
    """The first line of a file to which a process writes."""
    wait_until(lambda: process.returncode is not None or (path.exists() and "\n" in path.read_text()), 60)
    assert process.returncode is None, process.communicate()
    return path.read_text().splitlines()[0]


@pytest.mark.kill
def test_ctrl_c_ends_the_command_while_a_page_is_open(process, tmp_path):
    announcement = first_line(process, tmp_path / "stdout")
    with urllib.request.urlopen(f"{announcement.split()[3]}gradio_api/heartbeat/page", timeout=60) as page:
        assert page.readline() == b"data: ALIVE\n"
        assert len(list(tmp_path.glob("vitsplice-app-*"))) == 1
        os.kill(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert output == f"{announcement}\nclosed; temporary files are removed\n"
    assert process.returncode == 0
    assert list(tmp_path.glob("vitsplice-app-*")) == []
