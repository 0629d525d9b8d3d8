"""A scripted rater takes studies in a real browser."""

import json
import re
from urllib.parse import quote

import pytest

from vitsplice.study.analysis import analyse_study
from vitsplice.study.build import StudySettings, build_study
from vitsplice.study.results import match_to_plan, read_results
from vitsplice.study.trial_order import trials_of

pytestmark = pytest.mark.browser

METHODS = ("alpha", "beta", "gamma")
NO_STORAGE = (
    "Object.defineProperty(window, '{0}Storage', {{get() {{ throw new DOMException('no', 'SecurityError'); }}}});"
)
CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', {{value: {}}});"
FAKE_CLIPBOARD = CLIPBOARD.format("{writeText: async (text) => (window.copied = text)}")
NO_CLIPBOARD = CLIPBOARD.format("undefined")


@pytest.fixture(scope="session")
def study(make_images):
    """Six pairs in two sets and three methods: 12 of 18 comparisons and 2 checks for each rater."""
    return build_study(*make_images(6, METHODS, sets=2), StudySettings(trials=12, checks=2, size=64))


@pytest.fixture(scope="session")
def url(study, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "study.html"
    path.write_text(study.render())
    return path.as_uri()


@pytest.fixture
def write_study(make_images, tmp_path):
    """Build a study of its own for a test, with images of 64 px; return it and the URL of its page."""

    def write(pairs, methods, sets=1, **settings):
        study = build_study(*make_images(pairs, methods, sets), StudySettings(size=64, **settings))
        path = tmp_path / "study.html"
        path.write_text(study.render())
        return study, path.as_uri()

    return write


@pytest.fixture
def visit(browser, url):
    """Open the page as a new visitor; console messages, errors and network requests fail the test.

    The test can set the clock of the page forward, unless ``real_time`` is True: then the browser's own timers run.
    """
    contexts, problems = [], []

    def open_page(*, rater="", script="", address=url, start=False, real_time=False, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        context.add_init_script(script)
        context.on("console", lambda message: problems.append(message.text))
        context.on("weberror", lambda error: problems.append(str(error.error)))
        context.on(
            "request", lambda request: problems.append(request.url) if is_network(request.url, address) else None
        )
        page = context.new_page()
        if not real_time:
            page.clock.install()
        page.goto(address + (f"?rater={quote(rater)}" if rater else ""))
        if start:
            page.click("text=Start")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def is_network(requested, address):
    return requested.partition("?")[0] != address and not requested.startswith(("data:", "blob:"))


def start(page, rater):
    page.fill("#rater", rater)
    page.click("text=Start")


def wait_enabled(page):
    page.wait_for_selector("#trial:not(.waiting) #right:enabled")


def view_for(page, milliseconds):
    """Set the clock forward once the images of a trial are shown."""
    page.wait_for_selector("#trial:not(.waiting)")
    page.clock.run_for(milliseconds)


def wait_ready(page):
    """View a trial until it can be answered."""
    view_for(page, 300)
    wait_enabled(page)


def shown(page):
    """The images on the screen: structure image, appearance image, left, right."""
    return tuple(page.eval_on_selector_all("#trial img", "images => images.map(image => image.src)"))


def position(page):
    return page.text_content("#position")


def correct_side(study, images):
    """The side of the correct answer of a check; None for a comparison."""
    wrong = {study.images[check.wrong] for check in study.plan.checks}
    return "right" if images[2] in wrong else "left" if images[3] in wrong else None


def preferred(study, images):
    """The choice of a careful rater: the correct answer of a check, otherwise the first in the order of methods."""
    if side := correct_side(study, images):
        return side
    (pair,) = (p for p in study.plan.pairs if study.images[p.structure] == images[0])
    left, right = ([study.images[name] for name in pair.outputs].index(image) for image in images[2:])
    return "left" if left < right else "right"


def take(page, study, trials=14, touch=False, wait=wait_ready):
    """Answer trials by touch, or by the keys of the chosen side and the mouse in turn; return the images of each."""
    displays = []
    for number in range(trials):
        wait(page)
        displays.append(shown(page))
        side = preferred(study, displays[-1])
        keys = {"left": ("ArrowLeft", "f", "F"), "right": ("ArrowRight", "j", "J")}[side]
        if touch:
            page.tap(f"#{side}")
        elif number % 4 == 3:
            page.click(f"#{side}")
        else:
            page.keyboard.press(keys[number % 4])
        wait_answered(page, number)
    return displays


def planned_images(study, rater):
    """The images of each trial of a rater, in the order that the analysis expects."""
    pairs = {pair.id: pair for pair in study.plan.pairs}
    wrong = {check.pair: check.wrong for check in study.plan.checks}
    for trial in trials_of(study.plan, rater):
        pair = pairs[trial.pair]
        outputs = dict(zip(METHODS, pair.outputs, strict=True)) | {None: wrong.get(trial.pair)}
        names = pair.structure, pair.appearance, outputs[trial.left], outputs[trial.right]
        yield tuple(study.images[name] for name in names)


def wait_answered(page, number):
    """Wait for another trial or the end, by a selector: the content security policy forbids `wait_for_function`."""
    page.locator(f"#position:not(:text-is('{number + 1} of 14')), #end:visible").first.wait_for()


def download(page, folder):
    with page.expect_download() as waiting:
        page.click("#download")
    target = folder / waiting.value.suggested_filename
    waiting.value.save_as(target)
    assert target.read_text() == page.input_value("#results")
    return target


def read_result(study, path):
    """The result in a file, accepted by the analysis as one of this study."""
    results, invalid = read_results([path])
    (result,), foreign = match_to_plan(results, study.plan)
    assert not [*invalid, *foreign]
    return result


def recorded_trials(page):
    return json.loads(page.input_value("#results"))["trials"]


def test_complete_study_is_recorded_and_analysed(visit, study, tmp_path):
    page = visit(script=FAKE_CLIPBOARD)
    start(page, "  rater   ä/1 ")
    displays = take(page, study)
    assert "Done" in page.text_content("#status")
    target = download(page, tmp_path)
    assert target.name == f"study-{study.plan.study}-rater_ä_1.json"
    page.click("#copy")
    page.locator("#copy:text-is('Copied')").wait_for()
    assert page.evaluate("copied") == target.read_text()
    result = read_result(study, target)
    assert (result.rater, result.study, result.plan) == ("rater ä/1", study.plan.study, study.plan.digest)
    assert result.finished > result.began
    assert len(displays) == len(result.trials) == 14
    assert [trial.check for trial in result.trials] == [correct_side(study, images) is not None for images in displays]
    assert [trial.passed for trial in result.trials if trial.check] == [True, True]
    assert all(METHODS.index(trial.winner) < METHODS.index(trial.loser) for trial in result.comparisons)
    for trial, images in zip(result.trials, displays, strict=True):
        (pair,) = (pair for pair in study.plan.pairs if pair.id == trial.pair)
        assert images[:2] == (study.images[pair.structure], study.images[pair.appearance])
        assert trial.set == pair.set
        assert 250 <= trial.milliseconds < 30_000
    analysis = analyse_study(study.plan, [result], min_ms=0)
    assert [c.preferred.rate for c in analysis.comparisons if not c.set] == [1, 1, 1]
    assert [preference.method for preference in analysis.preferences] == list(METHODS)
    assert result.screen.width > 0
    assert "Chrom" in result.user_agent


@pytest.mark.parametrize(("pairs", "methods", "trials"), [(5, 3, 11), (3, 4, 13), (3, 2, 2)])
def test_browser_presents_the_planned_trials(visit, write_study, pairs, methods, trials):
    study, address = write_study(pairs, "wxyz"[:methods], 2, trials=trials, checks=3)
    page = visit(rater="R7", address=address, start=True)
    for _ in range(trials + 3):
        view_for(page, 300)
        page.keyboard.press("j")
    recorded = [(t["pair"], t["set"], t["left"], t["right"], t["check"]) for t in recorded_trials(page)]
    planned = trials_of(study.plan, "R7")
    assert recorded == [(t.pair, t.set, t.left, t.right, t.answer is not None) for t in planned]


def test_reload_resumes_with_the_same_order(visit, study, url, tmp_path):
    expected = list(planned_images(study, "the same"))
    page = visit()
    start(page, "the same")
    assert take(page, study, 5) == expected[:5]
    wait_ready(page)
    page.reload()
    wait_ready(page)
    assert position(page) == "6 of 14"
    assert shown(page) == expected[5]
    tab = page.context.new_page()  # a new tab asks for the id, and then continues from the stored answers
    tab.goto(url)
    start(tab, "the same")
    for number in range(5, 14):
        wait_ready(tab)
        assert position(tab) == f"{number + 1} of 14"
        assert shown(tab) == expected[number]
        tab.keyboard.press("j")
        wait_answered(tab, number)
    result = read_result(study, download(tab, tmp_path))
    assert len(result.trials) == 14
    tab.reload()
    assert "Done" in tab.text_content("#status")
    tab.click("#another")
    tab.reload()
    assert tab.input_value("#rater") == ""
    assert tab.is_visible("#rater")


def test_reload_continues_with_the_entered_id_instead_of_the_one_in_the_url(visit, study):
    page = visit(rater="R7")
    start(page, "R8")
    take(page, study, 1)
    page.reload()
    wait_ready(page)
    assert position(page) == "2 of 14"


def test_id_in_the_url_is_normalised_to_one_that_the_analysis_accepts(visit, study, tmp_path):
    page = visit(rater="\x1cR\x85\x1f7\x1e", start=True)
    wait_ready(page)
    page.click("#stop")
    assert read_result(study, download(page, tmp_path)).rater == "R 7"


def test_undo_reverts_the_last_choice(visit, study, tmp_path):
    page = visit(rater="undoes", start=True)
    wait_ready(page)
    assert page.is_disabled("#undo")
    first = shown(page)
    page.keyboard.press("Backspace")
    assert position(page) == "1 of 14"
    view_for(page, 700)
    page.keyboard.press("f")
    wait_ready(page)
    page.keyboard.press("Backspace")
    wait_ready(page)
    assert (position(page), shown(page)) == ("1 of 14", first)
    page.keyboard.press("j")
    wait_ready(page)
    page.click("#undo")
    wait_ready(page)
    assert (position(page), shown(page)) == ("1 of 14", first)
    page.keyboard.press("j")
    wait_ready(page)
    page.click("#stop")
    result = read_result(study, download(page, tmp_path))
    assert [trial.choice for trial in result.trials] == ["right"]
    assert result.trials[0].milliseconds >= 1600  # the three displays of the trial: 700 + 300, 300 and 300


def test_time_of_a_choice_survives_the_undo_of_two_choices(visit, study, tmp_path):
    page = visit(rater="undoes two", start=True)
    for number in (1, 2):
        view_for(page, 5000)
        page.keyboard.press("j")
        page.locator(f"#position:text-is('{number + 1} of 14')").wait_for()
    for number in (2, 1):
        page.keyboard.press("Backspace")
        page.locator(f"#position:text-is('{number} of 14')").wait_for()
    for number in (1, 2):
        view_for(page, 300)
        page.keyboard.press("j")
        page.locator(f"#position:text-is('{number + 1} of 14')").wait_for()
    page.click("#stop")
    result = read_result(study, download(page, tmp_path))
    assert [trial.milliseconds > 5000 for trial in result.trials] == [True, True]


def test_rater_who_stops_can_download_and_continue_and_sees_no_method(visit, study, tmp_path):
    page = visit(rater="stops", start=True, real_time=True, script=FAKE_CLIPBOARD)
    take(page, study, 1, wait=wait_enabled)
    wait_enabled(page)
    page.click("#stop")
    assert "not answered 13 of 14 trials" in page.text_content("#instructions")
    assert not page.is_visible("#results")
    result = read_result(study, download(page, tmp_path))
    assert (len(result.trials), result.finished) == (1, None)
    page.click("#copy")
    page.locator("#copy:text-is('Copied')").wait_for()
    assert not page.is_visible("#results")
    page.click("#back")
    wait_enabled(page)
    assert position(page) == "2 of 14"
    page.click("#stop")
    assert page.text_content("#copy") == "Copy results"
    page.click("#another")
    start(page, "another rater")
    wait_enabled(page)
    assert position(page) == "1 of 14"


def test_results_that_cannot_be_copied_are_selected_as_text_but_only_at_the_end(visit, write_study):
    _, address = write_study(2, METHODS[:2], trials=1, checks=0)
    page = visit(rater="no clipboard", address=address, start=True, script=NO_CLIPBOARD)
    wait_ready(page)
    page.click("#stop")
    page.click("#copy")
    page.locator("#message:has-text('Download the results instead')").wait_for()
    assert not page.is_visible("#results")
    page.click("#back")
    assert not page.is_visible("#message")
    wait_ready(page)
    page.keyboard.press("j")
    page.click("#copy")
    page.locator("#message:has-text('is selected')").wait_for()
    selected = page.eval_on_selector("#results", "area => area.value.slice(area.selectionStart, area.selectionEnd)")
    assert selected == page.input_value("#results")


@pytest.mark.parametrize("leave", ["reload", "stop", "undo"])
def test_time_of_a_choice_includes_displays_that_ended_without_a_choice(visit, leave):
    page = visit(rater="leaves", start=True)
    wait_ready(page)
    page.keyboard.press("j")
    view_for(page, 5000)
    if leave == "reload":
        page.reload()
    elif leave == "stop":
        page.click("#stop")
        page.click("#back")
    else:
        page.keyboard.press("Backspace")
        wait_ready(page)
        page.keyboard.press("j")
    wait_ready(page)
    assert position(page) == "2 of 14"
    page.keyboard.press("j")
    page.locator("#position:text-is('3 of 14')").wait_for()
    page.click("#stop")
    assert [trial["milliseconds"] > 5000 for trial in recorded_trials(page)] == [False, True]


def test_reload_of_a_tab_does_not_replace_the_answers_of_another_tab(visit, study, url):
    page = visit(rater="two tabs", start=True)
    wait_ready(page)
    tab = page.context.new_page()
    tab.goto(url)
    start(tab, "two tabs")
    take(tab, study, 1)
    page.reload()
    wait_ready(page)
    assert position(page) == "2 of 14"


def test_time_of_an_undone_choice_is_not_counted_for_the_next_rater(visit, study, tmp_path):
    page = visit(rater="slow", start=True)
    view_for(page, 60_000)
    page.keyboard.press("j")
    page.wait_for_selector("#undo:enabled")
    page.click("#undo")
    page.wait_for_selector("#undo:disabled")
    page.click("#stop")
    page.click("#another")
    start(page, "quick")
    view_for(page, 1000)
    page.keyboard.press("j")
    page.wait_for_selector("#undo:enabled")
    page.click("#stop")
    result = read_result(study, download(page, tmp_path))
    assert result.rater == "quick"
    assert result.trials[0].milliseconds < 30_000


def test_page_works_without_storage_and_shows_a_message(visit, study):
    page = visit(rater="private", script=NO_STORAGE.format("local") + NO_STORAGE.format("session"), start=True)
    wait_ready(page)
    assert "cannot resume" in page.text_content("#message")
    assert page.is_visible("#message")
    take(page, study, 1)
    page.click("#stop")
    assert len(recorded_trials(page)) == 1


def test_invalid_storage_is_ignored(visit, study):
    key = f"vitsplice study {study.plan.study} r"
    page = visit()
    for stored in ("{", "null", "[]", '{"began": 1}', '{"began": "x", "answers": [{"choice": "up"}]}'):
        page.evaluate("([key, stored]) => localStorage.setItem(key, stored)", [key, stored])
        start(page, "r")
        wait_ready(page)
        assert position(page) == "1 of 14", stored
        page.click("#stop")
        page.click("#another")


def test_held_or_too_early_key_is_ignored(visit, study):
    page = visit(rater="hasty", start=True)
    wait_ready(page)
    page.keyboard.down("j")
    for _ in range(5):
        view_for(page, 100)
        page.keyboard.down("j")  # repeats
    assert position(page) == "2 of 14"
    page.keyboard.up("j")
    wait_ready(page)
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 1)  # no time passes between the keys
    for _ in range(3):
        page.keyboard.press("j")
    wait_ready(page)
    assert position(page) == "3 of 14"


def test_trial_cannot_be_answered_before_the_minimum_viewing_time(visit, write_study):
    _, address = write_study(2, METHODS[:2], min_view=60)
    page = visit(rater="r", address=address, start=True)
    view_for(page, 30_000)
    page.keyboard.press("j")
    assert position(page).startswith("1 of")
    view_for(page, 30_000)
    wait_enabled(page)
    page.keyboard.press("j")
    view_for(page, 60_000)
    wait_enabled(page)
    assert position(page).startswith("2 of")


def test_phone_shows_a_whole_trial_and_accepts_taps(visit, study):
    size = {"width": 360, "height": 640}
    page = visit(rater="r", viewport=size, has_touch=True, is_mobile=True, start=True)
    wait_ready(page)
    for name in ("#structure", "#appearance", "#left img", "#right img", "#undo", "#stop"):
        box = page.locator(name).bounding_box()
        assert box["x"] >= 0 <= box["y"]
        assert box["x"] + box["width"] <= 360
        assert box["y"] + box["height"] <= 640
        assert box["height"] > 20
    assert page.locator("#left img").bounding_box()["width"] > 300
    take(page, study, 2, touch=True)


def test_background_is_dark_in_the_dark_colour_scheme_only(visit):
    page = visit()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (int(re.findall(r"\d+", background)[0]) < 100) == (scheme == "dark")


def test_document_contains_no_readable_method_names(visit, study):
    page = visit(rater="r", start=True)
    wait_ready(page)
    text = page.content()
    assert not [name for name in METHODS if re.search(rf"\b{name}\b", re.sub(r"data:image[^\"]*", "", text))]
