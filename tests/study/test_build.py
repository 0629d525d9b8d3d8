import base64
import io
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from vitsplice.batch.plan import BATCH, run_folder
from vitsplice.datasets import Pair, write
from vitsplice.errors import ConfigError, ImageError, UserError
from vitsplice.evaluation.plan import Method, parse_method
from vitsplice.study import page as page_module
from vitsplice.study.build import StudySettings, build_study, choose_checks, find_outputs, trials_per_rater

PAIRS = [Pair(name, Path("s"), Path("a")) for name in ("cow", "bear")]


@pytest.fixture(scope="module")
def page(make_images):
    return build_study(*make_images(4, ("our-secret-method", "theirs")), StudySettings(trials=4, checks=2, size=32))


def image(page, name):
    head, _, data = page.images[name].partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_page_contains_all_images_at_the_requested_size(page):
    plan = page.plan
    shown = [name for pair in plan.pairs for name in (pair.structure, pair.appearance, *pair.outputs)]
    shown += [check.wrong for check in plan.checks]
    assert set(shown) == set(page.images)
    assert len(page.images) == 4 * 4 + 2  # two inputs and two outputs of each pair, and two wrong answers
    assert {image(page, name).size for name in shown} == {(32, 24)}


def test_wrong_answer_is_the_output_of_another_pair_upside_down(page):
    for check in page.plan.checks:
        index = page.plan.methods.index(check.method)
        wrong = image(page, check.wrong).rotate(180).resize((4, 3), Image.Resampling.BOX).tobytes()
        outputs = {
            pair.id: image(page, pair.outputs[index]).resize((4, 3), Image.Resampling.BOX).tobytes()
            for pair in page.plan.pairs
        }
        distances = {name: sum(abs(x - y) for x, y in zip(o, wrong, strict=True)) for name, o in outputs.items()}
        nearest = min(distances, key=distances.get)
        assert distances[nearest] < 100  # over 36 values: the same image, JPEG-encoded twice
        assert nearest != check.pair


def test_a_pair_with_several_appearance_images_is_refused(tmp_path):
    write(tmp_path / "pairs.csv", [Pair("p", tmp_path / "s", tmp_path / "a", others=((tmp_path / "b", None),))])
    with pytest.raises(UserError, match="pair p has several appearance images; a study shows one"):
        build_study(tmp_path / "pairs.csv", [Method("one", tmp_path), Method("two", tmp_path)], StudySettings())


def test_page_contains_the_plan_but_no_readable_names(page):
    text = page.render()
    assert not [name for name in ("our-secret-method", "pair-0", ".png") if name in text]
    plan = re.search(r'id="plan">(.*?)</script>', text)[1]
    assert json.loads(base64.b64decode(plan)) == page.plan.data()


def test_image_names_and_order_do_not_depend_on_the_order_of_methods(make_images):
    manifest, methods = make_images(3, ("a", "b"))
    first, second = (build_study(manifest, order, StudySettings(checks=0)) for order in (methods, methods[::-1]))
    assert list(first.images) == list(second.images)
    assert first.plan.study != second.plan.study


def test_same_inputs_give_identical_bytes_and_other_settings_another_study(make_images):
    inputs = make_images(3, ("a", "b"))
    pages = [build_study(*inputs, settings) for settings in (StudySettings(), StudySettings(), StudySettings(seed=1))]
    pages.append(build_study(*inputs, StudySettings(question="Q?")))
    assert pages[0].render() == pages[1].render()
    assert len({page.plan.study for page in pages}) == 3


def test_title_and_question_are_escaped(make_images):
    settings = StudySettings(title="</title><script>alert(1)</script>", question="</script>")
    text = build_study(*make_images(3, ("a", "b")), settings).render()
    assert "<script>alert" not in text
    assert text.count("</script>") == 3


@pytest.mark.parametrize("setting", ["title", "question"])
def test_title_or_question_with_a_lone_surrogate_is_refused(make_images, setting):
    manifest, methods = make_images(3, ("a", "b"))
    with pytest.raises(UserError, match=f"{setting} has a NUL or a character that UTF-8 cannot encode"):
        build_study(manifest, methods, StudySettings(**{setting: "a\ud800"}))


def test_progress_counts_every_image(make_images):
    calls = []
    build_study(*make_images(3, ("a", "b")), StudySettings(checks=2), lambda done, total: calls.append((done, total)))
    assert calls == [(number, 14) for number in range(1, 15)]  # 6 inputs, 6 outputs, 2 wrong answers


def test_notes_report_equal_outputs_and_other_aspect_ratios(make_images, tmp_path):
    manifest, (a, b) = make_images(3, ("a", "b"))
    (note,) = build_study(manifest, [a, Method("again", a.folder)], StudySettings()).notes
    assert "a and again have the same image for 3 of 3 pairs" in note
    for path in b.folder.iterdir():
        Image.new("RGB", (48, 48), "red").save(tmp_path / path.name)
    notes = build_study(manifest, [a, Method("square", tmp_path)], StudySettings()).notes
    assert [note for note in notes if "outputs of square have another aspect ratio" in note and "3 of 3" in note]
    assert not build_study(manifest, [a, b], StudySettings()).notes


def test_error_names_an_unreadable_image(make_images):
    manifest, methods = make_images(3, ("a", "b"))
    (methods[1].folder / "pair-1.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"pair-1\.png"):
        build_study(manifest, methods, StudySettings())


def test_page_too_large_for_a_browser_is_refused(make_images, monkeypatch):
    monkeypatch.setattr(page_module, "LARGEST_PAGE", 5000)
    with pytest.raises(UserError, match="smaller size than 512"):
        build_study(*make_images(3, ("a", "b")), StudySettings())


@pytest.fixture
def methods(tmp_path):
    for name in ("one/cow.png", "one/bear.jpg", "two/cow/output.png", "two/bear.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return [Method(name, tmp_path / name) for name in ("one", "two")]


def test_outputs_are_found_as_image_files_and_in_run_folders(methods, tmp_path):
    outputs = {key: str(path.relative_to(tmp_path)) for key, path in find_outputs(methods, PAIRS).items()}
    assert outputs == {
        ("cow", "one"): "one/cow.png",
        ("bear", "one"): "one/bear.jpg",
        ("cow", "two"): "two/cow/output.png",
        ("bear", "two"): "two/bear.webp",
    }


def test_missing_or_ambiguous_outputs_are_errors(methods, tmp_path):
    (tmp_path / "two/bear.png").touch()
    with pytest.raises(UserError, match=r"two has more than one output for bear.*bear\.png and .*bear\.webp"):
        find_outputs(methods, PAIRS)
    for name in ("bear.png", "bear.webp"):
        (tmp_path / "two" / name).unlink()
    with pytest.raises(UserError, match="two has no output for 1 of 2 pairs: bear"):
        find_outputs(methods, PAIRS)
    with pytest.raises(UserError, match="contains no pairs"):
        find_outputs(methods, [])
    for wrong in ([], methods[:1], [methods[0], methods[0]]):
        with pytest.raises(ConfigError, match="two or more methods with different names"):
            find_outputs(wrong, PAIRS)


def test_outputs_in_the_run_folders_of_a_batch_are_found_unless_a_run_is_unfinished(methods, tmp_path):
    runs = {pair.id: tmp_path / "batch" / run_folder("quick", pair.id) for pair in PAIRS}
    for run in runs.values():
        run.mkdir(parents=True)
        (run / "output.png").touch()
    (tmp_path / "batch" / BATCH).write_text('{"variants": {"quick": {}}}')
    methods = [methods[0], parse_method(f"mine={tmp_path / 'batch'}")]
    outputs = find_outputs(methods, PAIRS)
    assert {pair: outputs[pair, "mine"] for pair in runs} == {pair: run / "output.png" for pair, run in runs.items()}
    (runs["bear"] / "run.json").write_text('{"backbones": {"main": {"name": "b", "sha256": ""}}, "finished": false}')
    with pytest.raises(ImageError, match="unfinished run"):
        find_outputs(methods, PAIRS)


def test_trials_per_rater_default_to_all_comparisons_up_to_40():
    assert trials_per_rater(None, 3, 3) == 9
    assert trials_per_rater(None, 100, 2) == 40
    assert trials_per_rater(60, 100, 2) == 60
    with pytest.raises(ConfigError, match="trials=0 is not allowed; give at least 1"):
        trials_per_rater(0, 100, 2)
    with pytest.raises(
        ConfigError,
        match="10 is more than the 9 comparisons of 3 pairs .* and 3 pairs of methods; give at most 9",
    ):
        trials_per_rater(10, 3, 3)


IMAGES = {
    "cow": frozenset({"cow", "zebra"}),
    "horse": frozenset({"horse", "zebra"}),
    "bear": frozenset({"bear", "polar bear"}),
}


def test_checks_take_the_wrong_answer_from_a_pair_that_shares_no_image():
    checks = choose_checks(6, IMAGES, ("a", "b"), seed=0)
    assert all(not IMAGES[pair] & IMAGES[other] for pair, _, other in checks)
    assert len(set(checks)) == len({(pair, method) for pair, method, _ in checks}) == 6
    assert Counter(method for _, method, _ in checks) == {"a": 3, "b": 3}
    assert Counter(pair for pair, _, _ in checks) == dict.fromkeys(IMAGES, 2)


@pytest.mark.parametrize("methods", ["ab", "abc", "abcd"])
@pytest.mark.parametrize("pairs", [2, 3, 4, 6])
def test_checks_are_balanced_over_pairs_and_methods(pairs, methods):
    images = {str(number): frozenset((str(number),)) for number in range(pairs)}
    for number in range(1, pairs * len(methods) + 1):
        checks = choose_checks(number, images, methods, seed=0)
        assert len({(pair, method) for pair, method, _ in checks}) == number
        for index, names in ((0, images), (1, methods)):
            counts = Counter(check[index] for check in checks)
            assert max(counts.values()) - min(counts[name] for name in names) <= 1


def test_checks_depend_on_the_seed():
    assert len({tuple(choose_checks(2, IMAGES, ("a", "b"), seed)) for seed in range(20)}) > 1
    assert choose_checks(2, IMAGES, ("a", "b"), 3) == choose_checks(2, IMAGES, ("a", "b"), 3)


def test_more_checks_than_possible_are_refused():
    with pytest.raises(ConfigError, match="checks=7 is more than the 6 possible checks"):
        choose_checks(7, IMAGES, ("a", "b"), 0)
    related = {name: IMAGES[name] for name in ("cow", "horse")}
    with pytest.raises(ConfigError, match="two pairs that share no image"):
        choose_checks(1, related, ("a", "b"), 0)
    assert choose_checks(0, related, ("a", "b"), 0) == []
