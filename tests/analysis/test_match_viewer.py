"""The viewer of matches: its data, and the page in a browser, compared with `vitsplice.matching`."""

import base64
import csv
import json
import re
from dataclasses import asdict, replace

import pytest
import torch
from match_page import click, marked

from vitsplice.analysis.correspondence import match_images

GRID = 8


@pytest.fixture(scope="module")
def result(vit):
    """Matches of two images of different shape."""
    first, second = (torch.rand(3, *size, generator=torch.Generator().manual_seed(3)) for size in ((64, 96), (80, 64)))
    return match_images(first, second, backbone=vit, grid=GRID)


def page_data(viewer):
    return json.loads(re.search(r'id="data">(.*?)</script>', viewer.html(), re.DOTALL)[1])


def decode(text, dtype, columns):
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=dtype).view(-1, columns)


class TestData:
    def test_best_matches_are_those_of_the_exact_similarities(self, result):
        match, data = result.correspondence, page_data(result.viewer())
        for image, similarities in zip(data["images"], (match.similarity, match.similarity.T), strict=True):
            nearest = decode(image["nearest"], torch.int32, data["nearest"]).long()
            assert torch.equal(nearest[:, 0], similarities.argmax(1))
            values = decode(image["similarities"], torch.float32, data["nearest"])
            assert torch.equal(values, similarities.topk(data["nearest"], 1).values)
            assert torch.equal(similarities.gather(1, nearest), values)

    def test_dot_products_of_the_vectors_approximate_the_similarities(self, result):
        data = page_data(result.viewer())
        scales = torch.tensor(data["scales"])
        first, second = (decode(image["vectors"], torch.int8, len(scales)).float() for image in data["images"])
        torch.testing.assert_close((first * scales) @ second.T, result.correspondence.similarity, atol=0.03, rtol=0)

    def test_every_patch_has_colours_and_equal_viewers_return_equal_pages(self, result):
        viewer = result.viewer()
        data = page_data(viewer)
        for image, grid in zip(
            data["images"], (result.correspondence.grid, result.correspondence.other_grid), strict=True
        ):
            assert tuple(image["grid"]) == grid
            assert decode(image["components"], torch.uint8, 3).shape == (grid[0] * grid[1], 3)
        assert decode(data["warped"], torch.uint8, 3).shape == (result.correspondence.similarity.shape[0], 3)
        assert viewer.html() == result.viewer().html()

    def test_names_cannot_insert_markup(self, result):
        viewer = replace(result.viewer(), names=("<script>alert(1)</script>", "b\u202e.png"))
        assert "<script>alert(1)" not in viewer.html()
        assert "alert(1)" in viewer.html()
        assert "<script>alert(1)" not in viewer.frame()

    def test_few_patches_and_flat_images_are_shown(self, vit):
        flat = torch.full((3, 16, 16), 0.5)
        data = page_data(match_images(flat, flat, backbone=vit, grid=2).viewer())
        assert data["nearest"] == 4  # all patches


@pytest.mark.browser
class TestPage:
    @pytest.fixture
    def page(self, opened, result, tmp_path):
        (tmp_path / "matches.html").write_text(result.viewer().html(), encoding="utf-8")
        return opened(tmp_path / "matches.html", viewport={"width": 1280, "height": 900})

    def test_click_on_either_image_shows_its_match_in_the_other(self, page, result):
        match = result.correspondence
        grids, best, back = (match.grid, match.other_grid), match.best, match.similarity.argmax(0)
        for patch in (0, 5, len(best) - 1):
            click(page, 0, patch, grids[0])
            assert marked(page, 0, "selected", grids[0]) == patch
            assert marked(page, 1, "best", grids[1]) == best[patch]
            text = page.text_content("#status")
            assert ("Not mutual" not in text) == bool(match.mutual[patch])
            assert f"similarity {match.similarity[patch].max():.3f}" in text
        click(page, 1, 7, grids[1])
        assert marked(page, 0, "best", grids[0]) == back[7]

    def test_keys_move_the_selection_and_enter_follows_the_match(self, page, result):
        match = result.correspondence
        click(page, 0, 0, match.grid)
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        patch = match.grid[1]  # row 1, column 0
        assert marked(page, 0, "selected", match.grid) == patch
        page.keyboard.press("Shift+ArrowRight")
        assert marked(page, 0, "selected", match.grid) == patch + 5
        page.keyboard.press("Enter")
        assert marked(page, 1, "selected", match.other_grid) == match.best[patch + 5]
        page.keyboard.press("ArrowUp")
        assert page.locator(".stage").nth(1).locator(".marks .selected").count() == 1

    def test_several_matches_are_listed_by_similarity(self, page, result):
        click(page, 0, 3, result.correspondence.grid)
        page.fill("#count", "4")
        listed = [float(line.rpartition(" ")[2]) for line in page.locator("#matches li").all_text_contents()]
        assert listed == pytest.approx(result.correspondence.similarity[3].topk(4).values.tolist(), abs=6e-4)
        assert page.locator(".marks .match").count() == 4

    def test_heat_map_is_brightest_at_the_most_similar_patch(self, page, result):
        click(page, 0, 9, result.correspondence.grid)
        script = "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"
        pixels = torch.tensor(page.locator(".stage canvas").nth(1).evaluate(script)).view(-1, 4).float()
        assert pixels[:, 1].argmax() == result.correspondence.best[9]

    def test_overlays_are_drawn_with_the_chosen_opacity(self, page):
        first, second = (page.locator(".stage canvas").nth(side) for side in range(2))
        page.check("input[value=components]")
        page.locator("#opacity").fill("30")
        assert [canvas.evaluate("canvas => canvas.style.opacity") for canvas in (first, second)] == ["0.3", "0.3"]
        page.check("input[value=warped]")
        assert (first.is_visible(), second.is_visible()) == (True, False)

    def test_downloads_hold_every_mutual_match(self, page, result, tmp_path):
        files = {}
        for name in ("json", "csv"):
            with page.expect_download() as download:
                page.click(f"#{name}")
            files[name] = tmp_path / download.value.suggested_filename
            download.value.save_as(files[name])
        matches = [asdict(match) for match in result.matches()]
        assert json.loads(files["json"].read_text()) == json.loads(json.dumps(result.record()))
        with files["csv"].open() as file:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
        assert [(row["first_x"], row["first_y"], row["similarity"]) for row in rows] == [
            (*match["first"], match["similarity"]) for match in matches
        ]

    def test_the_page_fits_on_a_narrow_screen(self, opened, result, tmp_path):
        (tmp_path / "matches.html").write_text(result.viewer().html(), encoding="utf-8")
        page = opened(tmp_path / "matches.html", viewport={"width": 390, "height": 844}, color_scheme="dark")
        assert page.evaluate("document.documentElement.scrollWidth") == 390

    def test_a_frame_is_as_high_as_its_content_and_as_dark_as_the_page_around_it(self, opened, result, tmp_path):
        style = "@media (prefers-color-scheme: dark) { body { color: #eee } }"
        (tmp_path / "page.html").write_text(f"<style>{style}</style>{result._repr_html_()}")
        page = opened(tmp_path / "page.html")
        frame = page.frames[1]
        click(frame, 0, 2, result.correspondence.grid)
        assert marked(frame, 1, "best", result.correspondence.other_grid) == result.correspondence.best[2]
        assert frame.evaluate("document.documentElement.scrollHeight <= innerHeight + 1")
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            frame.wait_for_function(
                "theme => getComputedStyle(document.documentElement).colorScheme === theme", arg=theme
            )
