"""A scripted rater takes studies in a real browser."""

import json
import re
from collections import Counter
from urllib.parse import quote

import pytest

from vitsplice.study import page
from vitsplice.study.analyse import analyse
from vitsplice.study.make import Settings, make
from vitsplice.study.order import trials_of
from vitsplice.study.plan import Plan
from vitsplice.study.raters import belonging
from vitsplice.study.results import read

pytestmark = pytest.mark.browser

METHODS = ("alpha", "beta", "gamma")
REFUSED = "Object.defineProperty(window, '{0}Storage', {{get() {{ throw new DOMException('no', 'SecurityError'); }}}});"


@pytest.fixture(scope="session")
def study(drawn):
    """Six pairs of two sets, three methods: 12 of 18 comparisons and 2 checks a rater."""
    return make(*drawn(6, METHODS, sets=2), Settings(trials=12, checks=2, size=64))


@pytest.fixture(scope="session")
def url(study, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "study.html"
    path.write_text(page.render(study))
    return path.as_uri()


@pytest.fixture
def visit(browser, url):
    """Open the page as a new visitor; whatever it says on the console or asks of a network fails the test."""
    contexts, trouble = [], []

    def open_page(*, rater="", script="", address=url, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        context.add_init_script(script)
        context.on("console", lambda message: trouble.append(message.text))
        context.on("weberror", lambda error: trouble.append(str(error.error)))
        context.on("request", lambda request: trouble.append(request.url) if is_network(request.url, address) else None)
        visited = context.new_page()
        visited.goto(address + (f"?rater={quote(rater)}" if rater else ""))
        return visited

    yield open_page
    for context in contexts:
        context.close()
    assert trouble == []


def is_network(asked, address):
    return asked.partition("?")[0] != address and not asked.startswith(("data:", "blob:"))


def begin(visited, rater):
    visited.fill("#rater", rater)
    visited.click("text=Begin")


def ready(visited):
    visited.wait_for_selector("#trial:not(.waiting) #right:enabled")


def shown(visited):
    """The images on the screen: A, B, left, right."""
    return tuple(visited.eval_on_selector_all("#trial img", "images => images.map(image => image.src)"))


def position(visited):
    return visited.text_content("#position")


def right_side(study, images):
    """The right answer, if this is a check."""
    wrong = {study.images[check["wrong"]] for check in study.key["checks"]}
    return "right" if images[2] in wrong else "left" if images[3] in wrong else None


def preferred(study, images, order=METHODS):
    """The side that a careful rater takes: the right answer of a check, else the method that is first in an order."""
    if known := right_side(study, images):
        return known
    (pair,) = (p for p in study.key["pairs"] if study.images[p["structure"]] == images[0])
    methods = [METHODS[[study.images[name] for name in pair["outputs"]].index(image)] for image in images[2:]]
    return "left" if order.index(methods[0]) < order.index(methods[1]) else "right"


def take(visited, study, trials=14, act=None):
    """Answer so many trials, and give what was shown in each."""
    seen = []
    for number in range(trials):
        ready(visited)
        seen.append(shown(visited))
        side = preferred(study, seen[-1])
        keys = {"left": ("ArrowLeft", "f", "F"), "right": ("ArrowRight", "j", "J")}[side]
        if act == "mouse":
            visited.click(f"#{side}")
        elif act == "touch":
            visited.tap(f"#{side}")
        else:
            visited.keyboard.press(keys[number % 3])
        answered(visited, number)
    return seen


def answered(visited, number):
    """Wait until another trial, or the end, has taken a trial's place. The page's policy lets nothing be evaluated."""
    visited.locator(f"#position:not(:text-is('{position_of(number)}')), #end:visible").first.wait_for()


def position_of(number):
    return f"{number + 1} of 14"


def handed_over(visited, path):
    with visited.expect_download() as waiting:
        visited.click("#download")
    target = path / waiting.value.suggested_filename
    waiting.value.save_as(target)
    assert target.read_text() == visited.input_value("#results")
    return target


def only(study, path):
    """The result in a file, which the analysis takes for one of the study."""
    results, unread = read([path])
    (own,), foreign = belonging(results, Plan.model_validate(study.key))
    assert not [*unread, *foreign]
    return own


@pytest.mark.parametrize("act", ["keyboard", "mouse"])
def test_a_whole_study_is_taken_and_analysed(visit, study, tmp_path, act):
    visited = visit()
    begin(visited, "  rater   ä/1 ")
    seen = take(visited, study, act=act)
    assert "Done" in visited.text_content("#verdict")
    target = handed_over(visited, tmp_path)
    assert target.name == f"study-{study.key['study']}-rater_ä_1.json"
    visited.click("#copy")
    visited.locator("#copy:text-is('Copied'), #note:has-text('is selected')").first.wait_for()
    chosen = visited.eval_on_selector("#results", "area => area.value.slice(area.selectionStart, area.selectionEnd)")
    assert chosen == target.read_text()
    result = only(study, target)
    assert (result.rater, result.study, result.plan) == ("rater ä/1", study.key["study"], study.key["digest"])
    assert result.finished > result.began
    assert len(seen) == len(result.trials) == 14
    assert [trial.check for trial in result.trials] == [right_side(study, images) is not None for images in seen]
    assert [trial.passed for trial in result.trials if trial.check] == [True, True]
    assert all(METHODS.index(trial.winner) < METHODS.index(trial.loser) for trial in result.comparisons)
    for trial, images in zip(result.trials, seen, strict=True):
        (pair,) = (pair for pair in study.key["pairs"] if pair["id"] == trial.pair)
        assert images[:2] == (study.images[pair["structure"]], study.images[pair["appearance"]])
        assert trial.set == pair["set"]
        assert 250 <= trial.milliseconds < 30_000
    found = analyse(Plan.model_validate(study.key), [result], min_ms=0)
    assert [c.rate for c in found.comparisons if not c.set] == [1, 1, 1]
    assert [standing.method for standing in found.standings] == list(METHODS)
    assert result.screen.width > 0
    assert "Chrom" in result.user_agent


def plan(visit, study, rater):
    """What a rater is asked, without the images."""
    visited = visit(rater=rater)
    visited.click("text=Begin")
    take(visited, study)
    return json.loads(visited.input_value("#results"))["trials"]


def test_raters_have_orders_of_their_own_each_balanced(visit, study):
    plans = [plan(visit, study, rater) for rater in ("one", "two")]
    asked = [[(trial["pair"], trial["left"], trial["right"]) for trial in trials] for trials in plans]
    assert asked[0] != asked[1]
    assert set(asked[0]) != set(asked[1])
    for trials in plans:
        real = [trial for trial in trials if not trial["check"]]
        twos = Counter(frozenset((trial["left"], trial["right"])) for trial in real)
        assert sorted(twos.values()) == [4, 4, 4]
        assert set(Counter(trial["pair"] for trial in real).values()) == {2}
        assert len({(trial["pair"], trial["left"], trial["right"]) for trial in real}) == 12
        sides = Counter((trial["left"], trial["right"]) for trial in real)
        assert set(sides.values()) == {2}
        known = [number for number, trial in enumerate(trials) if trial["check"]]
        assert len(known) == 2
        assert known[0] > 0
        assert known[1] - known[0] > 1
        assert {trials[number]["left"] is None for number in known} == {True, False}


@pytest.mark.parametrize(("pairs", "methods", "trials"), [(5, 3, 11), (4, 4, 17), (3, 2, 2), (7, 3, 21)])
def test_what_does_not_divide_is_balanced_to_one(visit, drawn, tmp_path, pairs, methods, trials):
    made = make(*drawn(pairs, "wxyz"[:methods]), Settings(trials=trials, checks=3, size=64))
    path = tmp_path / "uneven.html"
    path.write_text(page.render(made))
    visited = visit(address=path.as_uri())
    visited.clock.install()
    firsts = set()
    for rater in range(4):
        begin(visited, f"rater {rater}")
        for _ in range(trials + 3):
            visited.wait_for_selector("#trial:not(.waiting)")
            visited.clock.run_for(300)
            visited.keyboard.press("j")
        asked = json.loads(visited.input_value("#results"))["trials"]
        visited.click("#another")
        firsts.add(tuple((trial["pair"], trial["left"], trial["right"]) for trial in asked))
        planned = trials_of(Plan.model_validate(made.key), f"rater {rater}")
        assert [(t["pair"], t["left"], t["right"]) for t in asked] == [(t.pair, t.left, t.right) for t in planned]
        real = [trial for trial in asked if not trial["check"]]
        assert len(real) == trials
        assert len({(trial["pair"], frozenset((trial["left"], trial["right"]))) for trial in real}) == trials
        twos = Counter(tuple(sorted((trial["left"], trial["right"]))) for trial in real)
        assert even(twos, methods * (methods - 1) // 2)
        assert even(Counter(trial["pair"] for trial in real), pairs)
        for one, two in twos:
            sides = Counter(trial["left"] for trial in real if {trial["left"], trial["right"]} == {one, two})
            assert even(sides, 2)
        assert sum(trial["left"] is None for trial in asked) in (1, 2)
    assert len(firsts) == 4


def even(counts, kinds):
    """Whether each of so many kinds comes as often as every other, or once more."""
    numbers = [*counts.values(), *[0] * (kinds - len(counts))]
    return max(numbers) - min(numbers) <= 1


def test_a_reload_goes_on_where_it_was_with_the_same_order(visit, study, tmp_path):
    uninterrupted = visit()
    begin(uninterrupted, "the same")
    expected = take(uninterrupted, study)
    visited = visit()
    begin(visited, "the same")
    seen = take(visited, study, 5)
    ready(visited)
    visited.reload()
    ready(visited)
    assert position(visited) == "6 of 14"
    assert shown(visited) == expected[5]
    assert seen == expected[:5]
    again = visited.context.new_page()  # a tab of its own: the id is asked for, the answers are there
    visited.close()
    again.goto(uninterrupted.url)
    begin(again, "the same")
    ready(again)
    assert position(again) == "6 of 14"
    for number in range(5, 14):
        ready(again)
        assert shown(again) == expected[number]
        again.keyboard.press("j")
        answered(again, number)
    result = only(study, handed_over(again, tmp_path))
    assert len(result.trials) == 14
    again.reload()
    assert "Done" in again.text_content("#verdict")


def test_undo_takes_the_last_choice_back(visit, study, tmp_path):
    visited = visit(rater="undoes")
    visited.click("text=Begin")
    ready(visited)
    assert visited.is_disabled("#undo")
    first = shown(visited)
    visited.keyboard.press("Backspace")
    assert position(visited) == "1 of 14"
    visited.wait_for_timeout(700)
    visited.keyboard.press("f")
    ready(visited)
    visited.keyboard.press("Backspace")
    ready(visited)
    assert (position(visited), shown(visited)) == ("1 of 14", first)
    visited.keyboard.press("j")
    ready(visited)
    visited.click("#undo")
    ready(visited)
    assert (position(visited), shown(visited)) == ("1 of 14", first)
    visited.keyboard.press("j")
    ready(visited)
    visited.click("#stop")
    result = only(study, handed_over(visited, tmp_path))
    assert [trial.choice for trial in result.trials] == ["right"]
    assert result.trials[0].milliseconds > 1000  # all three looks


def test_who_stops_hands_over_what_there_is_sees_no_method_and_may_go_on(visit, study, tmp_path):
    visited = visit(rater="stops")
    visited.click("text=Begin")
    take(visited, study, 3)
    ready(visited)
    visited.click("#stop")
    assert "11 choices are left" in visited.text_content("#thanks")
    assert not visited.is_visible("#results")
    result = only(study, handed_over(visited, tmp_path))
    assert (len(result.trials), result.finished) == (3, None)
    visited.click("#back")
    ready(visited)
    assert position(visited) == "4 of 14"
    visited.click("#stop")
    visited.click("#another")
    begin(visited, "somebody else")
    ready(visited)
    assert position(visited) == "1 of 14"


def test_the_time_of_a_choice_that_one_rater_took_back_is_not_the_next_rater_s(visit, study, tmp_path):
    visited = visit(rater="slow")
    visited.clock.install()
    visited.click("text=Begin")
    look_for(visited, 60_000)
    visited.keyboard.press("j")
    visited.wait_for_selector("#undo:enabled")
    visited.click("#undo")
    visited.wait_for_selector("#undo:disabled")
    visited.click("#stop")
    visited.click("#another")
    begin(visited, "quick")
    look_for(visited, 1000)
    visited.keyboard.press("j")
    visited.wait_for_selector("#undo:enabled")
    visited.click("#stop")
    result = only(study, handed_over(visited, tmp_path))
    assert result.rater == "quick"
    assert result.trials[0].milliseconds < 30_000


def look_for(visited, milliseconds):
    visited.wait_for_selector("#trial:not(.waiting)")
    visited.clock.run_for(milliseconds)


def test_without_storage_it_works_and_says_so(visit, study):
    visited = visit(rater="private", script=REFUSED.format("local") + REFUSED.format("session"))
    visited.click("text=Begin")
    ready(visited)
    assert "cannot be continued" in visited.text_content("#note")
    assert visited.is_visible("#note")
    take(visited, study)
    assert len(json.loads(visited.input_value("#results"))["trials"]) == 14


@pytest.mark.parametrize("kept", ["{", "null", "[]", '{"began": 1}', '{"began": "x", "answers": [{"choice": "up"}]}'])
def test_a_spoilt_storage_begins_anew(visit, study, kept):
    place = f"vitsplice study {study.key['study']} r"
    script = f"if (location.protocol === 'file:') localStorage.setItem({place!r}, {json.dumps(kept)});"
    visited = visit(rater="r", script=script)
    visited.click("text=Begin")
    ready(visited)
    assert position(visited) == "1 of 14"


def test_a_key_held_down_or_pressed_at_once_answers_nothing(visit, study):
    visited = visit(rater="hasty")
    visited.click("text=Begin")
    ready(visited)
    visited.keyboard.down("j")
    for _ in range(20):
        visited.wait_for_timeout(30)
        visited.keyboard.down("j")  # repeats
    assert position(visited) == "2 of 14"
    visited.keyboard.up("j")
    ready(visited)
    for _ in range(3):
        visited.keyboard.press("j")
    ready(visited)
    assert position(visited) == "3 of 14"


def test_a_least_time_of_viewing(visit, drawn, tmp_path):
    study = make(*drawn(2, METHODS[:2]), Settings(min_view=1.5, size=64))
    path = tmp_path / "slow.html"
    path.write_text(page.render(study))
    visited = visit(rater="r", address=path.as_uri())
    visited.click("text=Begin")
    visited.wait_for_selector("#trial:not(.waiting)")
    visited.wait_for_timeout(600)
    visited.keyboard.press("j")
    assert position(visited).startswith("1 of")
    ready(visited)
    visited.keyboard.press("j")
    ready(visited)
    assert position(visited).startswith("2 of")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_a_trial_and_takes_taps(visit, study, scheme):
    size = {"width": 360, "height": 640}
    visited = visit(rater="r", viewport=size, has_touch=True, is_mobile=True, color_scheme=scheme)
    visited.click("text=Begin")
    ready(visited)
    for name in ("#structure", "#appearance", "#left img", "#right img", "#undo", "#stop"):
        box = visited.locator(name).bounding_box()
        assert box["x"] >= 0 <= box["y"]
        assert box["x"] + box["width"] <= 360
        assert box["y"] + box["height"] <= 640
        assert box["height"] > 20
    assert visited.locator("#left img").bounding_box()["width"] > 300
    take(visited, study, 2, act="touch")
    background = visited.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", background)[0]) < 100) == (scheme == "dark")


def test_no_name_of_a_method_is_on_the_screen_or_in_the_document(visit, study):
    visited = visit(rater="r")
    visited.click("text=Begin")
    ready(visited)
    text = visited.content()
    assert not [name for name in METHODS if re.search(rf"\b{name}\b", re.sub(r"data:image[^\"]*", "", text))]
