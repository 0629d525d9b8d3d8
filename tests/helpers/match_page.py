"""Clicks on patches in the viewer of matches, and the patches that it marks."""

import re


def click(page, side, patch, grid):
    """Click on the centre of a patch."""
    row, column = divmod(patch, grid[1])
    stage = page.locator(".stage").nth(side)
    box = stage.bounding_box()
    position = {"x": box["width"] * (column + 0.5) / grid[1], "y": box["height"] * (row + 0.5) / grid[0]}
    stage.click(position=position)


def marked(page, side, kind, grid):
    """The index of the patch under a mark: "selected", "best" (its match) or "back" (the match of that match)."""
    style = page.locator(".stage").nth(side).locator(f".marks .{kind}").get_attribute("style")
    left, top = (float(re.search(rf"{edge}: ([\d.]+)%", style)[1]) / 100 for edge in ("left", "top"))
    return int(top * grid[0]) * grid[1] + int(left * grid[1])
