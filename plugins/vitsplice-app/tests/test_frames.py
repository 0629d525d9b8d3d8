"""Framed HTML pages: which files the server gives, and that their scripts are isolated."""

from types import SimpleNamespace

import pytest
from vitsplice_app import frames
from vitsplice_app.frames import FRAMES, FramedPages


def status_of(pages, token):
    return pages.respond(SimpleNamespace(path_params={"token": token})).status_code


def token_of(address):
    return f"/{address}".removeprefix(FRAMES)


def test_page_that_was_added_is_found_and_no_other(tmp_path):
    (tmp_path / "report.html").write_text("<p>report</p>")
    pages = FramedPages()
    assert status_of(pages, token_of(pages.add(tmp_path, "report.html"))) == 200
    assert status_of(pages, "report.html") == 404
    assert status_of(pages, "") == 404


@pytest.mark.parametrize(
    "name", ["../secret.html", "/etc/passwd", "link.html", "linked/secret.html", "a/../b", "inner"]
)
def test_file_outside_of_the_folder_is_not_found(tmp_path, name):
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (tmp_path / "secret.html").write_text("secret")
    (folder / "link.html").symlink_to(tmp_path / "secret.html")
    (folder / "linked").symlink_to(tmp_path)
    pages = FramedPages()
    assert status_of(pages, token_of(pages.add(folder, name))) == 404


def test_file_that_becomes_a_link_is_not_found(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret.html").write_text("secret")
    (folder / "report.html").write_text("report")
    pages = FramedPages()
    token = token_of(pages.add(folder, "report.html"))
    (folder / "report.html").unlink()
    (folder / "report.html").symlink_to(tmp_path / "secret.html")
    assert status_of(pages, token) == 404


def test_oldest_address_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(frames, "MAX_PAGES", 2)
    (tmp_path / "report.html").write_text("report")
    pages = FramedPages()
    tokens = [token_of(pages.add(tmp_path, "report.html")) for _ in range(3)]
    assert [status_of(pages, token) for token in tokens] == [404, 200, 200]


def test_title_is_escaped(tmp_path):
    assert 'title="&quot;&gt;&lt;b&gt;"' in FramedPages().html(tmp_path, "report.html", '"><b>')


def test_document_may_load_nothing_and_has_an_origin_of_its_own(tmp_path):
    (tmp_path / "report.html").write_text("report")
    pages = FramedPages()
    request = SimpleNamespace(path_params={"token": token_of(pages.add(tmp_path, "report.html"))})
    policy = pages.respond(request).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "allow-same-origin" not in policy
