import base64
import re

import pytest
import torch

from tests.conftest import noise
from vitsplice.support.page import (
    Card,
    Cards,
    Details,
    Film,
    FormattedNumber,
    Heading,
    ImageBlock,
    ImageGrid,
    ImageRow,
    Properties,
    Slider,
    Table,
    Text,
    Thumbnail,
    data_uri,
    render,
)
from vitsplice.support.plots import plot

NASTY = "<script>document.title='caught'</script>\"'>\x1b[31m.png"
ROWS = [
    ["beta", 10.0, None, FormattedNumber(9.9, "9.9 [9, 11]")],
    ["alpha", 9.0, 1.5, FormattedNumber(12.0, "12 [11, 13]")],
    ["gamma", -1.0, 0.5, FormattedNumber(1e-5, "1e-05 [0, 2e-05]")],
]


def card(title, first, second):
    thumbnail = Thumbnail(data_uri(noise(3, 30, 40)), NASTY)
    return Card(title, [thumbnail], [thumbnail, Thumbnail("")], [[first, second], [None, 3.0]], {(0, 0): NASTY})


def jpeg(seed):
    return base64.b64decode(data_uri(noise(3, 30, 40, seed=seed)).partition(",")[2])


def all_blocks():
    before, after = ImageBlock(torch.zeros(3, 60, 80), "before"), ImageBlock(torch.ones(3, 60, 80), "after")
    return [
        Heading("Heading"),
        Text("words"),
        Text("highlighted words", highlighted=True),
        Properties([("name", "value"), (NASTY, NASTY)]),
        Table(["name", "value", "other", "mean"], ROWS, NASTY),
        ImageRow([ImageBlock(noise(3, 30, 40), NASTY), ImageBlock(noise(3, 40, 30))]),
        ImageGrid(["one", NASTY], [("row", [ImageBlock(noise(3, 30, 40)), None])]),
        Slider(before, after),
        Film([jpeg(seed) for seed in (1, 2, 3)], [jpeg(seed) for seed in (4, 5, 6)], 25.0, NASTY),
        plot(lambda figure: figure.add_subplot().plot([1, 2, 3]), caption=NASTY),
        Details(NASTY, NASTY * 20),
        Cards([(NASTY, True), ("other", False)], [NASTY, "two"], [card("a", 1.0, None), card(NASTY, 2.0, 0.5)]),
    ]


@pytest.fixture(scope="module")
def html():
    return render(NASTY, all_blocks(), NASTY)


@pytest.fixture(scope="module")
def file(html, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html)
    return path


@pytest.mark.slow
def test_same_blocks_give_the_same_bytes(html):
    assert render(NASTY, all_blocks(), NASTY) == html


def test_page_loads_no_external_resources(html):
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", html)
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html


def test_text_is_escaped(html):
    assert "<script>document" not in html
    assert "&lt;script&gt;document" in html
    assert "\x1b" not in html


@pytest.mark.slow
def test_large_images_are_scaled_down():
    small, large = (len(data_uri(torch.full((3, side, side // 2), 0.5), max_side=200)) for side in (200, 1000))
    assert large == pytest.approx(small, rel=0.05)


def test_plots_have_the_colour_of_the_page():
    block = plot(lambda figure: figure.add_subplot().set_title("words"))
    assert block.svg.startswith("<svg")
    assert "currentColor" in block.svg
    assert "words" in block.svg


@pytest.mark.browser
def test_browser_renders_a_page(opened, file):
    page = opened(file)
    assert page.title() != "caught"
    assert page.locator("h1").inner_text().startswith("<script>")
    assert page.locator("img").evaluate_all("images => images.every(image => image.complete && image.naturalWidth > 0)")
    assert page.locator("svg").bounding_box()["width"] > 100


@pytest.mark.browser
def test_film_shows_a_chosen_frame_and_plays_and_stops(opened, file):
    film = opened(file).locator(".film")
    images, output, button = film.locator("img"), film.locator("output"), film.locator("button")

    def sources():
        return [images.nth(number).get_attribute("src") for number in (0, 1)]

    first = sources()
    film.locator(".controls input").press("End")
    assert output.text_content() == "2"
    assert all(before != after for before, after in zip(first, sources(), strict=True))
    button.click()
    film.locator("output:not(:text-is('2'))").wait_for()  # the page's policy forbids `wait_for_function`
    assert button.text_content() == "stop"
    button.click()
    stopped = output.text_content()
    film.page.wait_for_timeout(100)
    assert (output.text_content(), button.text_content()) == (stopped, "play")


@pytest.mark.browser
def test_slider_moves_by_mouse_and_by_keyboard(opened, file):
    page = opened(file)
    slider = page.locator(".slider").first
    overlay, handle = slider.locator(".overlay"), slider.locator(".overlay input")

    def clip():
        return slider.locator(".after").evaluate("image => getComputedStyle(image).clipPath")

    assert clip() == "inset(0px 0px 0px 50%)"
    overlay.scroll_into_view_if_needed()
    box = overlay.bounding_box()
    page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + 0.5 * box["height"])
    by_mouse = clip()
    assert 85 < float(re.search(r"([\d.]+)%", by_mouse)[1]) < 95
    handle.press("Home")
    assert clip() == "inset(0px)" or clip().endswith(" 0%)")
    handle.press("ArrowRight")
    assert clip() == "inset(0px 0px 0px 1%)"


@pytest.mark.browser
def test_table_sorts_numbers_as_numbers_and_empty_cells_last(opened, file):
    page = opened(file)

    def column(number):
        return page.locator(f".sortable tbody td:nth-child({number})").all_inner_texts()

    headers = page.locator(".sortable thead button")
    headers.nth(1).click()
    assert column(2) == ["-1", "9", "10"]
    headers.nth(1).press("Enter")
    assert column(2) == ["10", "9", "-1"]
    headers.nth(0).click()
    assert column(1) == ["alpha", "beta", "gamma"]
    headers.nth(2).click()
    assert column(3) == ["0.5", "1.5", "-"]
    headers.nth(3).click()
    assert column(4) == ["1e-05 [0, 2e-05]", "9.9 [9, 11]", "12 [11, 13]"]
    assert page.locator(".sortable [aria-sort]").count() == 1


@pytest.mark.browser
def test_cards_sort_by_any_value_and_cards_without_that_value_are_last(opened, file):
    page = opened(file)

    def titles():
        return page.locator(".cards h3").evaluate_all("titles => titles.map(title => title.firstChild.textContent[0])")

    def choose(**options):
        for name, index in options.items():
            page.select_option(f"select[name={name}]", index=index)

    assert titles() == ["a", "<"]  # the worst first; higher values are better
    assert page.locator(".cards h3 output").first.inner_text().startswith("<script>")
    choose(end=1)
    assert titles() == ["<", "a"]
    choose(end=0, column=1)
    assert titles() == ["<", "a"]
    assert page.locator(".cards .selected output").all_inner_texts() == ["0.5", "-"]


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast_in_light_and_dark_mode(opened, file, scheme):
    page = opened(file, color_scheme=scheme)
    background = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (background > 0.5) == (scheme == "light")
    for selector in ("p", "figcaption", ".highlighted", "summary", ".properties th", "svg text", "pre"):
        colour = "element => getComputedStyle(element)[element.closest('svg') ? 'fill' : 'color']"
        text = luminance(page.locator(selector).first.evaluate(colour))
        assert (max(text, background) + 0.05) / (min(text, background) + 0.05) >= 4.5, selector


def luminance(colour):
    """Relative luminance of a CSS colour (WCAG 2)."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.browser
def test_page_fits_a_narrow_screen(opened, file):
    page = opened(file, viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
