import gc
import weakref
from dataclasses import replace

import pytest
import torch

from tests.conftest import components
from vitsplice.engine import memory
from vitsplice.engine.images import RunImages
from vitsplice.errors import OutOfMemory
from vitsplice.losses.neighbourhoods import PAIR_BYTES, PAIRS
from vitsplice.presets.settings import settings_for

TINY_MATCH = ("start=match", "match.grid=4", "steps=0", "metrics=none")


@pytest.fixture
def estimate_for(vit):
    def build(*overrides):
        settings = settings_for("tiny", backbone="tiny-vit", device="cpu", overrides=overrides)
        return memory.Estimate(components(settings, vit))

    return build


def images(side):
    return RunImages({image: torch.zeros(1, 3, side, side) for image in ("structure", "appearance")})


def test_tensors_saved_for_backward_are_counted_once():
    x = torch.rand(1000, requires_grad=True)
    assert memory.saved_for_backward(lambda: (x * 2).exp()) == 4000
    assert memory.saved_for_backward(lambda: x * x) == 4000
    with torch.no_grad():
        assert memory.saved_for_backward(lambda: x * x * x) == 8000  # it enables gradients


@pytest.mark.slow
def test_saved_for_backward_releases_the_counted_tensors():
    """The gradient of exp needs the result of exp. A result that stayed alive would leak memory in each run."""
    x, results = torch.zeros(1000, requires_grad=True), []

    def function():
        result = x.exp()
        results.append(weakref.ref(result))
        return result

    memory.saved_for_backward(function)
    gc.collect()
    assert results[0]() is None


def test_weights_of_a_network_are_not_counted():
    network, image = torch.nn.Linear(500, 3), torch.rand(2, 500, requires_grad=True)
    assert memory.saved_for_backward(lambda: network(image)) == 4 * (2 + 3) * 500
    assert memory.saved_for_backward(lambda: network(image), network) == 4 * 2 * 500


def test_size_that_fits_may_be_larger_than_the_smaller_image(estimate_for):
    estimate = estimate_for()
    structure, appearance = ((1, 3, 400, 400), (1, 3, 32, 32))
    unequal = RunImages({"structure": torch.zeros(structure), "appearance": torch.zeros(appearance)})
    with pytest.raises(OutOfMemory, match=r"size=\d+ would fit") as caught:
        memory.check(estimate, unequal, estimate.required_bytes((200, 200), (200, 200)))
    assert "size=200 " in str(caught.value)


def test_estimate_is_roughly_proportional_to_the_number_of_pixels(estimate_for):
    estimate = estimate_for()
    small, large = (estimate.required_bytes((side, side), (side, side)) for side in (400, 800))
    assert 3.5 < large / small < 4.1


def test_estimate_covers_the_generator_of_a_model_up_to_the_size_of_its_tiles(vit):
    config = settings_for("tiny", backbone="tiny-vit", device="cpu", overrides=TINY_MATCH)
    without, estimate = (
        memory.Estimate(components(config.model_copy(update={"start": start}), vit)) for start in ("structure", "model")
    )
    for side, pixels in ((512, 512**2), (4096, memory.MODEL_SIDE**2)):
        difference = estimate.required_bytes((side, side), (64, 64)) - without.required_bytes((side, side), (64, 64))
        assert difference == pytest.approx(memory.MARGIN * 4 * memory.MODEL_FLOATS * pixels, rel=0.05)


def test_backbone_whose_minimum_size_is_no_multiple_is_measured(vit, estimate_for, monkeypatch):
    monkeypatch.setattr(vit, "info", replace(vit.info, min_size=132))  # sizes must be multiples of 8
    assert estimate_for().required_bytes((400, 400), (400, 400)) > 0


def test_run_too_large_for_memory_is_refused_with_a_size_that_fits(estimate_for):
    estimate = estimate_for()
    needed = estimate.required_bytes((800, 800), (800, 800))
    memory.check(estimate, images(800), needed)
    memory.check(estimate, images(800), None)
    with pytest.raises(OutOfMemory, match=r"needs about .* [GM]iB .* size=\d+ would fit") as caught:
        memory.check(estimate, images(800), needed // 2)
    fits = int(str(caught.value).split("size=")[1].split()[0])
    assert 500 < fits < 620  # about 800 / sqrt(2)
    memory.check(estimate, images(fits), needed // 2)
    with pytest.raises(OutOfMemory):
        memory.check(estimate, images(fits + 2), needed // 2)
    with pytest.raises(OutOfMemory, match="no size of these images would fit; try precision=.*bfloat16"):
        memory.check(estimate, images(800), 1)


def test_free_memory_respects_the_limit_of_the_container(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 400\nfile 300\ninactive_file 250\n")
    assert memory._free_in_container(tmp_path) == 1000 - 700 + 250
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._free_in_container(tmp_path) == float("inf")
    assert memory._free_in_container(tmp_path / "none") == float("inf")
    free = memory.free_bytes(torch.device("cpu"))
    assert free is not None
    assert free > 0


def test_blocks_that_the_allocator_of_a_gpu_caches_are_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 700)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 500)
    assert memory.free_bytes(torch.device("cuda")) == 300


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried"), MemoryError()])
def test_out_of_memory_error_is_raised_with_advice(error):
    with pytest.raises(OutOfMemory, match="smaller size, precision="), memory.out_of_memory_advice():
        raise error


def test_failed_cpu_allocation_is_raised_with_advice():
    with pytest.raises(OutOfMemory, match="smaller size, precision="), memory.out_of_memory_advice():
        torch.empty(2**60, dtype=torch.uint8)


def test_advice_passes_other_errors_unchanged():
    with pytest.raises(RuntimeError, match="odd"), memory.out_of_memory_advice():
        raise RuntimeError("odd")


def test_stage_larger_than_the_output_is_estimated_at_the_output_size(estimate_for):
    def needed(side):
        return estimate_for(f"stages=[{{side: {side}}}]").required_bytes((64, 64), (64, 64))

    assert needed(64) == needed(2048)
    assert needed(32) < needed(64)


def test_run_without_steps_is_estimated(estimate_for):
    start = estimate_for("steps=0", "start=match")
    assert start.required_bytes((400, 400), (400, 400)) > 4 * memory.FULL_SIZE_FLOATS * 2 * 400**2  # two images
    with pytest.raises(OutOfMemory, match="needs about"):
        memory.check(start, images(400), 10**6)


def test_estimate_includes_the_warm_start_at_full_size(estimate_for):
    estimate = estimate_for("steps=0", "start=match", "metrics=none", "match.grid=4")
    floats = memory.FULL_SIZE_FLOATS + memory.WARM_START_FLOATS
    needed = memory.MARGIN * 4 * floats * 2 * 800**2  # two images
    assert estimate.required_bytes((800, 800), (800, 800)) == pytest.approx(needed, rel=0.01)


def test_estimate_includes_matching_of_many_patches(estimate_for):
    estimates = (estimate_for("steps=0", "start=match", f"match.grid={n}") for n in (48, 256))
    few, many = (estimate.required_bytes((64, 64), (64, 64)) for estimate in estimates)
    assert many - few > 4 * (256**4 - 48**4)  # a float for each pair of patches


def test_estimate_of_metrics_is_bounded_for_long_images(estimate_for):
    none, measured = (
        estimate_for("steps=0", "start=match", "match.grid=2", f"metrics={metrics}") for metrics in ("none", "all")
    )
    sizes = [((16, long), (16, 16)) for long in (16, 128, 512)]
    extra = [measured.required_bytes(*size) - none.required_bytes(*size) for size in sizes]
    assert 0 < extra[0] < extra[1]
    assert extra[2] == pytest.approx(extra[1], rel=0.01)


def test_estimate_includes_the_self_similarity_of_long_images(estimate_for):
    wide = estimate_for("resize.size=224").required_bytes((224, 224 * 32), (224, 224))
    assert wide > 4 * memory.SELF_SIMILARITY_FLOATS * ((224 * 224 * 32) / 8**2) ** 2  # patches of 8 x 8 px


def test_estimate_takes_the_maximum_of_the_longer_side_into_account(estimate_for):
    limited, small = estimate_for("resize={size: 224, max_size: 480}"), estimate_for("resize.size=120")
    size = (240, 960)  # resized to 120 x 480
    assert limited.required_bytes(size, size) == pytest.approx(small.required_bytes(size, size))


def test_estimate_includes_the_matching_for_guided_terms(estimate_for):
    terms = "terms={texture: {loss: texture, weight: 1}}"
    few, many = (estimate_for(terms, f"match.grid={grid}").required_bytes((64, 64), (64, 64)) for grid in (48, 256))
    assert many - few > 4 * (256**4 - 48**4)  # a float for each pair of patches


def test_estimate_includes_the_neighbourhoods_of_long_images(estimate_for):
    terms = "terms={contrast: {loss: contrast, weight: 1}}"
    estimate = estimate_for(terms, "metrics=none", "match.grid=4", "stages=[{side: 64}]")
    square, long = (estimate.required_bytes(size, size) for size in ((256, 256), (64, 1024)))
    assert long - square > 0.9 * memory.MARGIN * PAIR_BYTES * (PAIRS - memory.NEIGHBOURHOODS**2)


def test_small_crops_need_a_larger_image_in_a_stage_and_so_more_memory(estimate_for):
    stages, sizes = "stages=[{side: 64}]", ((640, 640), (64, 64))
    small, entire = (
        estimate_for(stages, f"views.structure.crop={crop}").required_bytes(*sizes) for crop in ("[0.3, 0.3]", "[1, 1]")
    )
    assert small > 1.5 * entire


@pytest.mark.slow
def test_bytes_of_the_parameters_of_a_generator_are_constant_or_for_each_pixel(vit, estimate_for):
    prior = "generator={name: prior, options: {channels: [8, 8]}}"
    per_pixel, fixed = estimate_for(prior)._parameter_bytes
    assert per_pixel == 0
    config = settings_for("tiny", backbone="tiny-vit", device="cpu", overrides=[prior])
    parameters = components(config, vit).build_generator(torch.rand(1, 3, 64, 64)).parameters()
    assert fixed == sum(parameter.numel() * 4 for parameter in parameters)
    assert estimate_for("generator={name: pixels}")._parameter_bytes[0] == pytest.approx(3 * 4)  # RGB, float32
