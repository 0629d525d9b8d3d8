import base64
import io
import json
import re

import pytest
from PIL import Image

from vitsplice.errors import ImageError, UserError
from vitsplice.evaluation.outputs import Method
from vitsplice.study import page, page_images
from vitsplice.study.make import Settings, make


@pytest.fixture(scope="module")
def study(drawn):
    return make(*drawn(4, ("our-secret-method", "theirs")), Settings(trials=4, checks=2, size=32))


def image(study, name):
    head, _, data = study.images[name].partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_every_image_is_in_the_page_at_the_size_asked_for(study):
    shown = [pair[role] for pair in study.key["pairs"] for role in ("structure", "appearance")]
    shown += [name for pair in study.key["pairs"] for name in pair["outputs"]]
    shown += [check["wrong"] for check in study.key["checks"]]
    assert set(shown) == set(study.images)
    assert len(study.images) == 4 * 4 + 2
    assert {image(study, name).size for name in shown} == {(32, 24)}


def test_the_wrong_answer_is_another_pairs_output_upside_down(study):
    for check in study.key["checks"]:
        method = study.key["methods"].index(check["method"])
        wrong = image(study, check["wrong"]).rotate(180).resize((4, 3), Image.Resampling.BOX).tobytes()
        outputs = {
            pair["id"]: image(study, pair["outputs"][method]).resize((4, 3), Image.Resampling.BOX).tobytes()
            for pair in study.key["pairs"]
        }
        gaps = {name: sum(abs(x - y) for x, y in zip(o, wrong, strict=True)) for name, o in outputs.items()}
        nearest = min(gaps, key=gaps.get)
        assert gaps[nearest] < 100  # of 36 values: the same image, through JPEG once more
        assert nearest != check["pair"]


def test_the_page_tells_no_method_at_a_glance_and_the_key_is_in_it(study):
    text = page.render(study)
    assert not [name for name in ("our-secret-method", "pair-0", ".png") if name in text]
    key = re.search(r'id="key">(.*?)</script>', text)[1]
    assert json.loads(base64.b64decode(key)) == study.key


def test_names_of_images_and_their_order_do_not_depend_on_the_order_of_methods(drawn):
    manifest, methods = drawn(3, ("a", "b"))
    one, two = (make(manifest, order, Settings(checks=0)) for order in (methods, methods[::-1]))
    assert list(one.images) == list(two.images)
    assert one.key["study"] != two.key["study"]


def test_the_same_study_twice_is_the_same_bytes_and_another_question_is_another_study(drawn):
    given = drawn(3, ("a", "b"))
    assert page.render(make(*given, Settings())) == page.render(make(*given, Settings()))
    ids = {make(*given, settings).key["study"] for settings in (Settings(), Settings(seed=1), Settings(question="Q?"))}
    assert len(ids) == 3


def test_what_is_shown_cannot_break_out_of_the_page(drawn):
    text = page.render(
        make(*drawn(3, ("a", "b")), Settings(title="</title><script>alert(1)</script>", question="</script>"))
    )
    assert "<script>alert" not in text
    assert text.count("</script>") == 3


def test_progress_reaches_its_end(drawn):
    told = []
    make(*drawn(3, ("a", "b")), Settings(checks=2), lambda done, total: told.append((done, total)))
    assert told == [(number, 14) for number in range(1, 15)]


def test_notes_name_what_would_spoil_the_study(drawn, tmp_path):
    manifest, (one, two) = drawn(3, ("a", "b"))
    (same,) = make(manifest, [one, Method("again", one.folder)], Settings()).notes
    assert "a and again have the same image for 3 of 3 pairs" in same
    for path in two.folder.iterdir():
        Image.new("RGB", (48, 48), "red").save(tmp_path / path.name)
    notes = make(manifest, [one, Method("square", tmp_path)], Settings()).notes
    assert [note for note in notes if "square has another aspect" in note and "3 of 3" in note]
    assert not make(manifest, [one, two], Settings()).notes


def test_a_image_that_cannot_be_read_is_named(drawn):
    manifest, methods = drawn(3, ("a", "b"))
    (methods[1].folder / "pair-1.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"pair-1\.png"):
        make(manifest, methods, Settings())


def test_a_page_too_large_for_a_browser_is_refused(drawn, monkeypatch):
    monkeypatch.setattr(page_images, "LARGEST_PAGE", 5000)
    with pytest.raises(UserError, match="smaller size than 512"):
        make(*drawn(3, ("a", "b")), Settings())
