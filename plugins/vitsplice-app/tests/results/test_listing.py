"""Results in a folder: what the tab shows of each."""

import json
import os
from datetime import UTC, datetime

import pytest
from vitsplice_app.frames import FramedPages
from vitsplice_app.results import listing

from vitsplice.errors import UserError
from vitsplice.images import example
from vitsplice.results import StoredResult, find_results


def result(folder, kind="evaluation", state="finished", **fields):
    return StoredResult(kind, "some/name", folder, datetime(2026, 1, 2, 3, 4, tzinfo=UTC), state, **fields)


@pytest.fixture
def batch(tmp_path):
    """Folder of a batch of five runs: two have finished, one of them without its output, and two were refused."""
    folder = tmp_path / "batch"
    for name in ("one", "two"):
        (folder / "quick" / "abc" / name).mkdir(parents=True)
    (folder / "quick" / "abc" / "one" / "output.png").write_bytes(example()[0].read_bytes())
    (folder / "batch.json").write_text(json.dumps({"format": 2, "threads": 1, "pairs": 5, "variants": {"quick": {}}}))
    records = [{"id": name, "variant": "quick", "folder": f"quick/abc/{name}"} for name in ("one", "two")]
    (folder / "results.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    failure = {"variant": "quick", "state": "refused", "reason": "<b>no image</b>"}
    failures = [json.dumps({"id": name, **failure}) + "\n" for name in ("three", "four")]
    (folder / "failures.jsonl").write_text("".join(failures))
    return folder


def test_label_has_kind_folder_date_and_state(tmp_path):
    assert listing.label(result(tmp_path)) == "evaluation · some/name · 2026-01-02 03:04 · finished"


def test_studies_in_one_folder_have_different_labels(tmp_path):
    first, second = (result(tmp_path, "study", page=page) for page in ("study.html", "other.html"))
    assert listing.label(first) == "study · some/name/study.html · 2026-01-02 03:04 · finished"
    assert listing.label(second) != listing.label(first)


def test_summary_counts_results_or_says_what_to_do(tmp_path):
    assert listing.summary(None, []) == listing.NO_FOLDER
    assert "holds no evaluation" in listing.summary(tmp_path, [])
    assert listing.summary(tmp_path, [result(tmp_path)]).startswith("1 result in")


def test_page_is_shown_in_an_isolated_frame(tmp_path):
    shown = listing.show(result(tmp_path, page="gallery.html"), FramedPages())
    assert 'sandbox="allow-scripts allow-forms allow-downloads"' in shown.html
    assert str(tmp_path) not in shown.html


@pytest.mark.parametrize("state", ["running", "unfinished"])
def test_result_without_a_page_says_why(tmp_path, state):
    assert listing.WITHOUT_PAGE[state] in listing.show(result(tmp_path, state=state), FramedPages()).html


def test_problem_of_a_damaged_result_is_shown_as_text(tmp_path):
    shown = listing.show(result(tmp_path, state="damaged", problem="<script>"), FramedPages())
    assert "&lt;script&gt;" in shown.html
    assert "<script>" not in shown.html


def test_state_of_a_batch_has_numbers_reasons_and_outputs(batch):
    (stored,) = find_results(batch)
    shown = listing.show(stored, FramedPages())
    assert "4 of 5 runs have ended; no process is running the batch." in shown.html
    assert '<th scope="row">quick</th><td>2</td><td>2</td><td>0</td>' in shown.html
    assert "quick/three and 1 other: &lt;b&gt;no image&lt;/b&gt;" in shown.html
    assert [caption for _, caption in shown.images] == ["one, quick"]
    assert max(shown.images[0][0].size) == listing.THUMBNAIL


def test_output_that_cannot_be_read_is_left_out(batch):
    (batch / "quick" / "abc" / "one" / "output.png").write_bytes(b"broken")
    assert listing.show(find_results(batch)[0], FramedPages()).images == []


def test_damaged_studies_in_one_folder_have_labels_and_keys_of_their_own_however_long_its_path(tmp_path):
    folder = tmp_path.joinpath(*["d" * 250] * 4)
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        (folder / f"{name}.plan.json").write_text("{")
    results = find_results(tmp_path)
    assert len(set(map(listing.key, results))) == len(set(map(listing.label, results))) == 2


def test_key_and_label_of_a_name_that_is_not_utf8_can_be_sent_to_the_browser(tmp_path):
    folder = tmp_path / os.fsdecode(b"a\xff")
    folder.mkdir()
    (folder / "evaluate.json").write_text("{}")
    (stored,) = find_results(tmp_path)
    assert (listing.key(stored) + listing.label(stored)).encode()


def test_result_is_chosen_by_its_key(tmp_path):
    first, second = result(tmp_path), result(tmp_path, kind="study", page="study.html")
    assert listing.choose([first, second], listing.key(second)) is second
    for name in ("a", "b"):
        (tmp_path / f"{name}.plan.json").write_text("{")
    damaged = find_results(tmp_path)
    assert [listing.choose(damaged, listing.key(each)) for each in damaged] == damaged
    with pytest.raises(UserError, match="not in the current list"):
        listing.choose([first], "../../etc/passwd")
