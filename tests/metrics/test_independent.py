import pytest
import torch
import yaml

from tests.conftest import noise
from vitsplice import builtin
from vitsplice.contracts import Case, MetricContext
from vitsplice.errors import UnknownName, UserError
from vitsplice.metrics import METRICS, RUN_METRICS, independent, natural
from vitsplice.metrics.independent import gradient_ssim_distance, patch_distance
from vitsplice.metrics.leakage import NetworkId, OptimisedParts, leakage
from vitsplice.metrics.values import UNDEFINED, measure

SPECS = [spec for spec in METRICS if spec.name in RUN_METRICS]
STRUCTURE, APPEARANCE = RUN_METRICS[:2], RUN_METRICS[2:4]


def photograph(seed, side=96):
    return torch.nn.functional.interpolate(noise(1, 3, 12, 12, seed=seed), size=(side, side), mode="bicubic").clamp(
        0, 1
    )


def measured(structure, appearance, output, cnn=None, references=None):
    """Measure `RUN_METRICS`; return values by name. If ``cnn`` is None, the metrics do not find their CNN."""

    def load(name):
        if cnn is None:
            raise UnknownName(f"no backbone '{name}'")
        return cnn

    values = measure(SPECS, MetricContext(load, "x"), Case("c", structure, appearance, output), references)
    return {value.name: value for value in values}


@pytest.mark.usefixtures("small_metrics")
def test_target_image_has_distance_0_and_values_name_their_target_and_networks(cnn):
    structure, appearance = photograph(1), photograph(2)
    unchanged, copied = (measured(structure, appearance, output, cnn) for output in (structure, appearance))
    assert tuple(unchanged) == RUN_METRICS
    for name in STRUCTURE:
        assert unchanged[name].value == pytest.approx(0, abs=1e-6)
        assert copied[name].value > 1e-5
    for name in APPEARANCE:
        assert copied[name].value == pytest.approx(0, abs=1e-6)
        assert unchanged[name].value > 1e-3
    assert {name: value.against for name, value in copied.items()} == dict.fromkeys(STRUCTURE, "structure") | (
        dict.fromkeys(APPEARANCE, "appearance") | {"natural-statistics": "both"}
    )
    assert {name for name, value in copied.items() if value.networks == (cnn.info.name,)} == set(
        independent.CNN_METRICS
    )


@pytest.mark.usefixtures("small_metrics")
@pytest.mark.parametrize(("term", "metric"), [("edges", "gradient-ssim"), ("patches", "lab-patches")])
def test_values_are_marked_by_the_networks_and_terms_that_the_output_was_optimised_with(cnn, term, metric):
    case = Case("c", *[photograph(seed) for seed in (1, 2, 3)])
    optimised = OptimisedParts((NetworkId("vit", "ab"), NetworkId("alias", cnn.info.sha256)), (term,))
    for known, others in ((optimised, "none"), (None, "unknown")):
        values = measure(SPECS, MetricContext(lambda _: cnn, "x"), case, optimised=known)
        marks = {value.name: value.leakage for value in values}
        assert {marks[name] for name in independent.CNN_METRICS} == {"network" if known else "unknown"}
        assert marks[metric] == ("term" if known else "unknown")
        assert {marks[name] for name in {"gradient-ssim", "lab-patches"} - {metric}} == {others}


def test_channel_statistics_of_another_network_are_a_term_like_the_metric(cnn):
    metric = independent.cnn_statistics(MetricContext(lambda _: cnn, "x"))
    assert leakage(metric, OptimisedParts((NetworkId("other", "ab"),), ("statistics",))) == "term"


@pytest.mark.slow
@pytest.mark.usefixtures("small_metrics")
def test_references_are_measured_in_the_place_of_the_output(cnn):
    structure, appearance, output, start = (photograph(seed) for seed in range(4))
    values = measured(structure, appearance, output, cnn, {"start": start, "unchanged": structure})
    for name, reference in (("start", start), ("unchanged", structure)):
        expected = measured(structure, appearance, reference, cnn)
        assert all(getattr(value, name) == expected[metric].value for metric, value in values.items())


@pytest.mark.usefixtures("small_metrics")
def test_failure_on_a_reference_leaves_the_value(monkeypatch):
    structure, appearance, output = photograph(1), photograph(2), photograph(3)
    expected = measured(structure, appearance, output)["lab-patches"].value
    results = iter([MemoryError(), expected])

    def fail_once(*_):
        if isinstance(result := next(results), Exception):
            raise result
        return result

    monkeypatch.setattr(independent, "patch_distance", fail_once)
    value = measured(structure, appearance, output, references={"start": output})["lab-patches"]
    assert (value.value, value.start, value.reason) == (expected, None, "")


@pytest.mark.usefixtures("small_metrics")
def test_without_the_cnn_the_other_metrics_have_values():
    values = measured(photograph(1), photograph(2), photograph(1))
    assert {name for name, value in values.items() if value.value is None} == set(independent.CNN_METRICS)
    assert all("install the plugin vitsplice-offline" in values[name].reason for name in independent.CNN_METRICS)


def test_gradient_distance_ignores_brightness_and_patch_distance_ignores_mirroring():
    image, other = photograph(3), photograph(4)
    brighter = (image + 0.05).clamp(0, 1)
    assert gradient_ssim_distance(brighter, image) < 0.2 * gradient_ssim_distance(other, image)
    assert patch_distance(image.flip(-1).flip(-2), image) < 0.3 * patch_distance(other, image)


def test_gradient_distance_increases_with_noise():
    image, speckle = photograph(5), noise(1, 3, 96, 96) - 0.5
    none, little, much = (
        gradient_ssim_distance((image + amount * speckle).clamp(0, 1), image) for amount in (0, 0.1, 0.4)
    )
    assert none < little < much


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_uniform_image_has_gradient_distance_0_to_itself(level):
    uniform = torch.full((1, 3, 64, 64), level)
    assert gradient_ssim_distance(uniform, uniform) == 0


OUT_OF_MEMORY = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


@pytest.mark.usefixtures("small_metrics")
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "out of memory (MemoryError)"),
        (OUT_OF_MEMORY, "out of memory (can't allocate memory: you tried to allocate 9 bytes)"),
        (UserError("not\nthis"), "not this"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
    ],
)
def test_failing_metric_costs_only_its_own_value(cnn, monkeypatch, error, reason):
    def fail(*_):
        raise error

    images = [photograph(seed) for seed in (1, 2, 3)]
    expected = measured(*images, cnn)
    monkeypatch.setattr(independent, "patch_distance", fail)
    values = measured(*images, cnn)
    failed = values.pop("lab-patches")
    assert values == {name: value for name, value in expected.items() if name != "lab-patches"}
    assert (failed.value, failed.against, failed.reason, failed.failed) == (None, "appearance", reason, True)


@pytest.mark.usefixtures("small_metrics")
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_value_that_is_not_finite_is_undefined(monkeypatch, number):
    monkeypatch.setattr(independent, "patch_distance", lambda *_: number)
    value = measured(*[photograph(seed) for seed in (1, 2, 3)])["lab-patches"]
    assert (value.value, value.reason, value.failed) == (None, UNDEFINED, False)


@pytest.mark.usefixtures("small_metrics")
def test_long_image_is_measured_at_a_bounded_size(cnn, monkeypatch):
    sizes = []
    monkeypatch.setattr(independent, "MAX_LENGTH", 512)
    to_lab = independent.to_lab
    monkeypatch.setattr(independent, "to_lab", lambda image: sizes.append(image.shape[-2:]) or to_lab(image))

    def recorded(images, requests):
        sizes.append(images.shape[-2:])
        return cnn(images, requests)

    recorded.info = cnn.info
    images = [noise(1, 3, 32, 1024, seed=seed) for seed in (1, 2, 3)]
    assert all(value.value is not None for value in measured(*images, recorded).values())
    assert max(max(size) for size in sizes) <= independent.MAX_LENGTH


@pytest.mark.parametrize("preset", builtin.vitsplice_presets(), ids=lambda preset: preset.name)
def test_no_built_in_preset_names_the_cnn_of_the_metrics(preset):
    architecture = independent.CNN.removeprefix("efficientnet-").removesuffix("-offline")
    assert architecture == "lite1"
    assert architecture not in str(yaml.safe_load(preset.path.read_text()))


def test_metrics_of_pixels_load_no_backbone():
    context = MetricContext(lambda name: pytest.fail(name), "x")
    for build in (independent.gradient_ssim, independent.lab_patches, natural.natural_statistics):
        assert build(context).networks == ()
