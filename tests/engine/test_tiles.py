import pytest
import torch

from tests.conftest import TINY_NETWORKS, components, noise
from vitsplice.config import StageConfig
from vitsplice.engine.images import RunImages
from vitsplice.engine.loop import Optimisation
from vitsplice.engine.problem import assemble
from vitsplice.engine.stages import StagedOptimisation, stages_for
from vitsplice.engine.tiles import SHIFT, draw_tiles
from vitsplice.presets.settings import settings_for


@pytest.mark.parametrize("size", [(64, 64), (65, 64), (100, 300), (130, 64), (511, 223), (64, 1000)])
@pytest.mark.parametrize("tile", [64, 100, 448])
def test_tiles_cover_the_image_in_every_step_and_have_one_size(size, tile):
    for step in range(4):
        tiles = draw_tiles(*size, tile, 0, step)
        covered = torch.zeros(size)
        for view in tiles:
            assert min(view.top, view.left) >= 0
            assert view.top + view.height <= size[0]
            assert view.left + view.width <= size[1]
            covered[view.top : view.top + view.height, view.left : view.left + view.width] += 1
        assert covered.min() >= 1
        assert len({(view.height, view.width) for view in tiles}) == 1


def test_tiles_move_from_step_to_step_by_at_most_three_times_the_shift():
    steps = [[(tile.top, tile.left) for tile in draw_tiles(300, 500, 100, 0, step)] for step in range(12)]
    assert len({tuple(corners) for corners in steps}) > 6
    assert all(len(corners) == 3 * 5 for corners in steps)
    for corners_of_tile in zip(*steps, strict=True):
        assert all(max(axis) - min(axis) <= 3 * SHIFT for axis in zip(*corners_of_tile, strict=True))
    assert draw_tiles(300, 500, 100, 3, 5) == draw_tiles(300, 500, 100, 3, 5)


@pytest.mark.parametrize("length", [160, 300, 700])
def test_no_border_between_tiles_stays_in_place(length):
    steps = [draw_tiles(64, length, 100, 0, step) for step in range(40)]
    for tiles in zip(*steps, strict=True):
        for borders in ({tile.left for tile in tiles}, {tile.left + tile.width for tile in tiles}):
            assert borders in ({0}, {length}) or len(borders) > SHIFT / 2


def test_image_of_one_tile_is_one_view_of_it():
    (view,) = draw_tiles(90, 100, 100, 0, 0)
    assert (view.top, view.left, view.height, view.width) == (0, 0, 90, 100)


def problem(vit, cnn, pair, tile, *overrides):
    common = [*TINY_NETWORKS, "stages=[]", "generator={name: pixels}", "precision=float32", "device=cpu"]
    config = settings_for("quick", overrides=[*common, *overrides])
    images = RunImages({"structure": pair[0], "appearance": pair[1], "start": pair[0]})
    stage = StageConfig(side=512, tile=tile) if tile else None
    return assemble(components(config, vit, cnn), images, stage=stage)


def gradient(problem):
    """Return the total of the first step, and its gradient in the generator's parameters."""
    optimisation, active = Optimisation(problem), list(problem.terms)
    step = optimisation._tiled(0, active, problem.tile) if problem.tile else optimisation._backward(0, active)
    return step.total, torch.cat([p.grad.flatten() for p in problem.generator.parameters()])


def test_step_on_one_tile_equals_a_step_on_the_entire_image(vit, cnn):
    pair = [noise(1, 3, 64, 80, seed=seed) for seed in (1, 2)]
    terms = "terms={light: {loss: smoothness, weight: 2, view: entire, backbone: cnn}}"
    (total, whole), (tiled_total, tiled) = (gradient(problem(vit, cnn, pair, tile, terms)) for tile in (None, 128))
    assert tiled_total == pytest.approx(total, rel=1e-5)
    torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-8)


def test_step_on_tiles_is_the_mean_over_the_tiles_and_reaches_the_entire_image(vit, cnn):
    pair = [noise(1, 3, 120, 200, seed=seed) for seed in (1, 2)]
    terms = "terms={light: {loss: smoothness, weight: 2, view: entire, backbone: cnn}}"
    built = problem(vit, cnn, pair, 64, terms)
    total, tiled = gradient(built)
    tiles = draw_tiles(120, 200, 64, built.config.seed, 0)
    assert len(tiles) == 8
    output = built.generator(built.generator_input)
    term = built.terms[0]
    backbone = built.backbones["cnn"]
    values = []
    for tile in tiles:
        features = backbone.features({0: tile.crop(output)}, term.loss_term.requests)[0]
        values.append(2 * term.loss_term.function(features, {}))  # the term's weight is 2
    mean = torch.stack(values).mean()
    expected = torch.autograd.grad(mean, list(built.generator.parameters()))
    assert total == pytest.approx(mean.item(), rel=1e-5)
    torch.testing.assert_close(tiled, torch.cat([g.flatten() for g in expected]), rtol=1e-4, atol=1e-8)
    assert (tiled.view(3, 120, 200).abs().sum(0) > 0).float().mean() > 0.9


def sides(config, *output):
    return [(stage.side, stage.tile) for stage in stages_for(config, output)]


def test_stage_on_tiles_is_left_out_for_an_output_of_less_than_three_times_the_area_of_the_stage_before():
    config = settings_for("tiny", overrides=["stages=[{side: 200}, {side: 2048, tile: 64}]"])
    assert sides(config, 800, 200) == [(200, None), (400, 64)]
    assert sides(config, 340, 340) == [(200, None)]
    assert sides(config, 350, 350) == [(200, None), (350, 64)]
    assert sides(config, 100, 100) == [(100, None)]
    alone = settings_for("tiny", overrides=["stages=[{side: 2048, tile: 64}]"])
    assert sides(alone, 40, 40) == [(40, 64)]


@pytest.mark.slow
def test_stage_on_tiles_has_the_size_of_the_output_and_its_own_terms(vit, cnn):
    pair = [noise(1, 3, 96, 120, seed=seed) for seed in (1, 2)]
    stages = "stages=[{side: 32}, {side: 512, tile: 64, terms: [detail, smoothness]}]"
    config = settings_for("quick", overrides=[*TINY_NETWORKS, stages, "steps=2", "match.grid=6", "precision=float32"])
    optimisation = StagedOptimisation(
        components(config, vit, cnn), RunImages(dict(zip(("structure", "appearance"), pair, strict=True)))
    )
    assert optimisation.working_sizes[1] == (96, 120)
    whole, tiled = optimisation.steps()
    assert set(whole.losses) == set(config.terms)
    assert set(tiled.losses) == {"detail", "smoothness"}
    assert optimisation.image().isfinite().all()


class Saved:
    """A tensor that autograd saves; the class counts the bytes of all live ones, and their peak."""

    alive = peak = 0

    def __init__(self, tensor):
        self.tensor, self.bytes = tensor.detach(), tensor.numel() * tensor.element_size()
        Saved.alive += self.bytes
        Saved.peak = max(Saved.peak, Saved.alive)

    def __del__(self):
        Saved.alive -= self.bytes


def peak_bytes(problem):
    Saved.alive = Saved.peak = 0
    with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
        gradient(problem)
    return Saved.peak


@pytest.mark.slow
def test_memory_of_a_step_on_tiles_grows_with_the_generator_alone(vit, cnn):
    terms = "terms={it: {loss: feature, weight: 1, backbone: cnn, view: entire}}"

    def peak(side, tile):
        pair = [noise(1, 3, side, side, seed=seed) for seed in (1, 2)]
        return peak_bytes(problem(vit, cnn, pair, tile, terms))

    whole, tiled = peak(384, None), peak(384, 96)
    assert whole > 10 * peak(96, None)
    assert tiled < 0.25 * whole
    image_bytes = 3 * 4 * (384**2 - 192**2)
    assert tiled - peak(192, 96) < 6 * image_bytes  # what the generator saves, and the output


@pytest.mark.parametrize("preset", ["quick", "best"])
def test_last_stage_of_presets_for_large_images_works_on_tiles(preset):
    assert settings_for(preset).stages[-1].tile
