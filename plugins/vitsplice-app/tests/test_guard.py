"""Hostile requests get no traceback and no file from outside of the page's folder; the server stays alive."""

import http.client
import itertools
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import coroutines
import httpx
import pytest
from starlette.responses import PlainTextResponse
from vitsplice_app import guard
from vitsplice_app.account import Account
from vitsplice_app.guard import API, MAX_BODY, MAX_UPLOAD, Guard

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=edge"}
ADA = {"Authorization": "Basic YWRhOnNlY3JldA=="}
FILE = f"{API}/file="
JOIN = f"{API}/queue/join"
UPLOAD = f"{API}/upload"
ALIVE = f"{API}/app_id"
"""Route with a short response."""


@pytest.fixture(scope="module")
def ask_server(server):
    """Function that sends a request and returns status and text of the answer; in the end the page must be intact."""

    def send(method, path, body=b"", headers=(), read=True):
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace") if read else ""
        finally:
            connection.close()
        assert "Traceback" not in text
        return answer.status, text

    yield send
    status, text = send("GET", "/")
    assert status == 200
    assert "Look inside" in text


@pytest.fixture
def ask(ask_server):
    """The function `ask_server`; afterwards the server must answer."""
    yield ask_server
    status, text = ask_server("GET", ALIVE)
    assert status == 200
    assert "app_id" in text


@pytest.fixture
def secret(server):
    """File outside of the folder that the browser may read."""
    path = server.workspace.root / "secret.txt"
    path.write_text("secret")
    return path


def event(data, function=0):
    return json.dumps({"data": data, "fn_index": function, "session_hash": "someone"}).encode()


@pytest.mark.slow
def test_file_in_the_folder_can_be_read(ask, server):
    path = server.workspace.files / "own.txt"
    path.write_text("own")
    assert ask("GET", f"{FILE}{path}") == (200, "own")


@pytest.mark.parametrize("path", ["{files}/../secret.txt", "{secret}", "{files}/link", "{files}/folder/secret.txt"])
def test_file_outside_of_the_folder_cannot_be_read(ask, server, secret, path):
    files = server.workspace.files
    for link, target in ((files / "link", secret), (files / "folder", secret.parent)):
        if not link.is_symlink():
            os.symlink(target, link)
    status, text = ask("GET", FILE + path.format(files=files, secret=secret))
    assert (status, text) == (403, "only files of the page can be read")


def test_loop_of_symlinks_cannot_be_read(ask, tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert ask("GET", f"{FILE}{loop}") == (403, "only files of the page can be read")


@pytest.mark.parametrize(
    "path",
    [
        f"{FILE}../../../../etc/passwd", f"{FILE}..%2f..%2f..%2fetc%2fpasswd", f"{FILE}%2fetc%2fpasswd", f"{FILE}%00",
        f"{FILE}%252fetc%252fpasswd",
        f"{FILE}/" + "x" * 5000, f"{FILE}file:///etc/passwd",
        f"{FILE}http://127.0.0.1:1/", f"{API}/file/etc/passwd", "/file=/etc/passwd",
        "/static/../../../../../../../../../etc/passwd", "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/assets//etc/passwd", "/svelte/..%2f..%2f..%2f..%2f..%2fetc/passwd", "//etc/passwd",
        f"{API}/proxy=http://127.0.0.1:1/", f"{API}/custom_component/x/client/../__init__.py", "/monitoring",
    ],
)  # fmt: skip
def test_routes_that_read_other_files_or_fetch_urls_are_refused(ask, path):
    status, text = ask("GET", path)
    assert status in (403, 404)
    assert "root:" not in text


@pytest.mark.parametrize("path", ["/etc/passwd", "{secret}", "http://127.0.0.1:1/a.png", "a.png", "\0"])
def test_event_cannot_name_a_file_that_was_not_uploaded(ask, secret, path):
    file = {"path": path.format(secret=secret), "meta": {"_type": "gradio.FileData"}}
    assert ask("POST", JOIN, event([[{"image": file}]]), JSON) == (403, "only files of the page can be used")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"data": ' + b"[" * 50_000])
def test_broken_json_is_refused(ask, body):
    assert ask("POST", JOIN, body, JSON)[0] == 400


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b'{"data": 1}',
        b'{"data": [], "fn_index": "x"}',
        b'{"data": [], "fn_index": 9}',
    ],
)
def test_wrong_types_and_missing_values_are_refused(ask, body):
    assert ask("POST", JOIN, body, JSON)[0] in (400, 422, 500)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{API}/run/predict", {"data": [], "fn_index": 9999}),
        (f"{API}/run/predict", {"data": [], "fn_index": -1, "session_hash": ["someone"]}),
        (f"{API}/run/no_such_event", {"data": []}),
        (f"{API}/run/__class__", {"data": []}),
        (f"{API}/component_server", {"component_id": 1, "fn_name": "__class__", "data": [], "session_hash": "someone"}),
        (f"{API}/component_server", {"component_id": "x", "fn_name": None}),
        (f"{API}/cancel", {"session_hash": {}, "fn_index": "x", "event_id": []}),
        (f"{API}/reset", {"event_id": ["x"]}),
    ],
)
def test_unknown_events_and_wrong_arguments_are_refused(ask, path, body):
    assert ask("POST", path, json.dumps(body).encode(), JSON)[0] in (400, 404, 422, 500)


@pytest.mark.slow
def test_large_bodies_of_useless_values_are_refused(ask):
    values = b'{"path": "/etc/passwd"}, 0, "x", [[]], ' * (MAX_BODY // 40)
    assert ask("POST", JOIN, b'{"data": [' + values + b"0]}", JSON)[0] == 403
    assert ask("POST", JOIN, b'{"data": [' + b"0," * (MAX_BODY // 8) + b"0]}", JSON)[0] in (400, 422, 500)


def test_event_stream_of_an_unknown_session_leaves_the_page_alive(ask):
    assert ask("GET", f"{API}/queue/data?session_hash=nobody", read=False)[0] == 200


@pytest.mark.parametrize(("path", "limit"), [(f"{API}/component_server", "MAX_UPLOAD"), (JOIN, "MAX_BODY")])
def test_oversized_request_is_refused(ask, path, limit, monkeypatch):
    monkeypatch.setattr(guard, limit, 2**20)
    headers = FORM | {"Content-Length": str(2**21)}
    status, text = ask("POST", path, itertools.repeat(b"x" * 2**20, 2), headers)
    assert (status, text) == (413, "too large: at most 1 MB are allowed")


@pytest.mark.parametrize("path", [UPLOAD, f"{API}/component_server"])
@pytest.mark.parametrize("kind", ["application/json", "Application/JSON", "text/plain"])
def test_upload_that_is_no_form_is_checked_as_json(ask, path, kind):
    headers = {"Content-Type": kind}
    assert ask("POST", path, b'{"path": "/etc/passwd"}', headers) == (403, "only files of the page can be used")
    status, text = ask("POST", path, b" " * (MAX_BODY + 1), headers)
    assert (status, text) == (413, f"too large: at most {MAX_BODY // 10**6} MB are allowed")


def test_files_of_one_request_may_together_exceed_the_limit_of_one_file(ask, monkeypatch):
    monkeypatch.setattr(guard, "MAX_UPLOAD", 1000)
    part = '--edge\r\nContent-Disposition: form-data; name="files"; filename="{}.txt"\r\n\r\n' + "x" * 600 + "\r\n"
    status, text = ask("POST", UPLOAD, f"{part.format('a')}{part.format('b')}--edge--\r\n".encode(), FORM)
    assert status == 200
    assert len(json.loads(text)) == 2


@pytest.mark.slow
def test_file_above_the_limit_is_refused(ask):
    head = b'--edge\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n'
    chunks = [head, *[b"x" * 2**20] * (MAX_UPLOAD // 2**20 + 1), b"\r\n--edge--\r\n"]
    status, text = ask("POST", UPLOAD, iter(chunks), FORM | {"Content-Length": str(sum(map(len, chunks)))})
    assert status == 413
    assert "exceeded maximum allowed size" in text


def test_request_without_a_length_is_refused(ask):
    assert ask("POST", UPLOAD, iter([b"chunk"]), FORM)[0] == 411


@pytest.mark.parametrize("body", [b"", b"text", b"--edge", b"--edge\r\n\r\n", b"--edge\r\nContent-Disposition: x\r\n"])
def test_broken_upload_is_no_server_error(ask, body):
    assert ask("POST", UPLOAD, body, FORM)[0] in (200, 400)


@pytest.mark.parametrize(
    "name", ["../../evil.png", "/etc/evil.png", "..", "a\\..\\evil.png", "x" * 5000, "%2e%2e%2fevil"]
)
def test_upload_stays_in_the_folder_whatever_its_name(ask, server, name):
    part = f'--edge\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\ntext\r\n--edge--\r\n'
    status, text = ask("POST", UPLOAD, part.encode(), FORM)
    assert status in (200, 400, 413, 500)
    if status == 200:
        assert all(Path(path).resolve().is_relative_to(server.workspace.files) for path in json.loads(text))
    assert sorted(path.name for path in server.workspace.root.iterdir()) in (
        ["files", "runs"],
        ["files", "runs", "secret.txt"],
    )


def test_huge_header_is_refused(ask):
    try:
        status = ask("GET", "/", headers={"X-Header": "x" * 2**20})[0]
    except ConnectionError:  # closed while the header was being sent
        return
    assert status in (400, 431)


@pytest.mark.parametrize("host", ["127.0.0.2:7860", "127.0.0.1", "localhost:1", "[::1]", "[::1]:7860"])
def test_request_to_a_name_of_this_machine_is_answered(ask, host):
    assert ask("GET", ALIVE, headers={"Host": host})[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "192.0.2.1:80", ""])
def test_website_whose_name_resolves_to_this_machine_is_refused(ask, host):
    assert ask("GET", "/", headers={"Host": host})[0] in (400, 403)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "http://["])
def test_request_of_another_website_is_refused(ask, origin):
    assert ask("POST", JOIN, event([]), JSON | {"Origin": origin}) == (403, "requests of other websites are refused")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "NONSENSE"])
def test_other_methods_are_refused(ask, method):
    assert ask(method, UPLOAD)[0] in (400, 404)


@pytest.mark.slow
def test_many_requests_at_once_are_answered(ask):
    requests = [("GET", "/"), ("GET", f"{FILE}/etc/passwd"), ("POST", JOIN, event([]), JSON), ("GET", "/config")]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda request: ask(*request)[0], requests * 4))
    assert set(answers) <= {200, 400, 403, 422, 500, 503}
    assert answers.count(403) == 4


def test_responses_forbid_the_browser_to_load_from_elsewhere(server):
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    connection.request("GET", "/")
    headers = connection.getresponse().headers
    connection.close()
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert headers["x-content-type-options"] == "nosniff"


def test_uploaded_web_page_is_never_opened_with_the_rights_of_the_page(server):
    path = server.workspace.files / "own.html"
    path.write_text("<script>")
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    connection.request("GET", f"{FILE}{path}")
    headers = connection.getresponse().headers
    connection.close()
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith("attachment")


def test_size_is_computed_while_a_folder_is_removed(tmp_path, monkeypatch):
    def removed_after_it_was_listed(folder):
        if Path(folder) == gone:
            gone.rmdir()
        return scandir(folder)

    gone, scandir = tmp_path / "gone", os.scandir
    gone.mkdir()
    (tmp_path / "upload.png").write_bytes(b"image")
    monkeypatch.setattr(os, "scandir", removed_after_it_was_listed)
    assert guard._size(tmp_path) == 5


def test_upload_to_a_full_folder_is_refused(ask, monkeypatch):
    body = b"--edge--"
    monkeypatch.setattr(guard, "MAX_STORED", len(body))
    assert ask("POST", UPLOAD, body, FORM) == (507, guard.FULL)


@pytest.mark.parametrize(("given", "status"), [({}, 401), ({"Authorization": "Basic eDp5"}, 401), (ADA, 200)])
def test_account_is_required_for_every_request(given, status, tmp_path, monkeypatch):
    async def application(scope, receive, send):
        await PlainTextResponse("page")(scope, receive, send)

    async def ask_all():
        transport = httpx.ASGITransport(Guard(application, tmp_path, account=Account("ada", "secret")))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=given) as client:
            return [(await client.get(path)).status_code for path in ("/", "/theme.css", f"{API}/info")]

    monkeypatch.setattr(guard, "FAILED_LOGIN_SECONDS", 0)
    assert coroutines.run(ask_all()) == [status] * 3
