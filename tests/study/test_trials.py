from collections import Counter
from pathlib import Path

import pytest

from vitsplice.batch.plan import BATCH, folder
from vitsplice.datasets import Pair
from vitsplice.errors import ConfigError, ImageError, UserError
from vitsplice.evaluation.outputs import Method, method
from vitsplice.study.trials import checks, outputs, trials_a_rater

PAIRS = [Pair(name, Path("s"), Path("a")) for name in ("cow", "bear")]


@pytest.fixture
def folders(tmp_path):
    for name in ("one/cow.png", "one/bear.jpg", "two/cow/output.png", "two/bear.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return [Method(name, tmp_path / name) for name in ("one", "two")]


def test_outputs_are_found_in_every_form(folders, tmp_path):
    found = {key: str(path.relative_to(tmp_path)) for key, path in outputs(folders, PAIRS).items()}
    assert found == {
        ("cow", "one"): "one/cow.png",
        ("bear", "one"): "one/bear.jpg",
        ("cow", "two"): "two/cow/output.png",
        ("bear", "two"): "two/bear.webp",
    }


def test_what_is_missing_or_twice_is_named(folders, tmp_path):
    (tmp_path / "two/bear.png").touch()
    with pytest.raises(UserError, match=r"two has more than one output for bear.*bear\.png and .*bear\.webp"):
        outputs(folders, PAIRS)
    for name in ("bear.png", "bear.webp"):
        (tmp_path / "two" / name).unlink()
    with pytest.raises(UserError, match="two has no output for 1 of 2 pairs: bear"):
        outputs(folders, PAIRS)
    with pytest.raises(UserError, match="holds no pairs"):
        outputs(folders, [])
    for wrong in ([], folders[:1], [folders[0], folders[0]]):
        with pytest.raises(ConfigError, match="two or more methods of different names"):
            outputs(wrong, PAIRS)


def test_the_runs_of_a_batch_are_outputs_but_not_unfinished_ones(folders, tmp_path):
    runs = {pair.id: tmp_path / "batch" / folder("quick", pair.id) for pair in PAIRS}
    for run in runs.values():
        run.mkdir(parents=True)
        (run / "output.png").touch()
    (tmp_path / "batch" / BATCH).write_text('{"variants": {"quick": {}}}')
    methods = [folders[0], method(f"mine={tmp_path / 'batch'}")]
    found = outputs(methods, PAIRS)
    assert {pair: found[pair, "mine"] for pair in runs} == {pair: run / "output.png" for pair, run in runs.items()}
    (runs["bear"] / "run.yaml").touch()
    (runs["bear"] / "run.json").write_text('{"backbone": {"name": "b", "sha256": ""}, "finished": false}')
    with pytest.raises(ImageError, match="not finished"):
        outputs(methods, PAIRS)


def test_trials_a_rater():
    assert trials_a_rater(None, 3, 3) == 9
    assert trials_a_rater(None, 100, 2) == 40
    assert trials_a_rater(60, 100, 2) == 60
    with pytest.raises(ConfigError, match="10 is more than there are: 3 pairs by 3 pairs of methods are 9"):
        trials_a_rater(10, 3, 3)


IMAGES = {
    "cow": frozenset({"cow", "zebra"}),
    "horse": frozenset({"horse", "zebra"}),
    "bear": frozenset({"bear", "polar bear"}),
}


def test_checks_take_the_wrong_answer_from_a_pair_that_shares_no_image():
    found = checks(6, IMAGES, ("a", "b"), seed=0)
    assert all(not IMAGES[check.pair] & IMAGES[check.other] for check in found)
    assert len(set(found)) == len({(check.pair, check.method) for check in found}) == 6
    assert Counter(check.method for check in found) == {"a": 3, "b": 3}
    assert Counter(check.pair for check in found) == dict.fromkeys(IMAGES, 2)


def test_the_seed_chooses_the_checks():
    several = {tuple(checks(2, IMAGES, ("a", "b"), seed)) for seed in range(20)}
    assert len(several) > 1
    assert checks(2, IMAGES, ("a", "b"), 3) == checks(2, IMAGES, ("a", "b"), 3)


def test_more_checks_than_there_can_be():
    with pytest.raises(ConfigError, match="checks=7 is more than there can be: 6"):
        checks(7, IMAGES, ("a", "b"), 0)
    related = {name: IMAGES[name] for name in ("cow", "horse")}
    with pytest.raises(ConfigError, match="two pairs that share no image"):
        checks(1, related, ("a", "b"), 0)
    assert checks(0, related, ("a", "b"), 0) == []
