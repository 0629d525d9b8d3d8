"""The parts of the benchmarks: loops, passes and timed calls."""

from types import SimpleNamespace

import pytest
import vitsplice_tiny

from vitsplice.engine.targets import MemoryBank
from vitsplice.errors import UnknownName, UserError
from vitsplice.presets.settings import settings_for
from vitsplice.tools import bench as benchmarks


@pytest.fixture
def small(monkeypatch):
    """Use images of 32 px, also where a preset has another size, and call a timed function once."""

    def settings(*arguments, overrides=(), **others):
        return settings_for(*arguments, overrides=[*overrides, "resize.size=32"], **others)

    monkeypatch.setattr(benchmarks, "SIZE", 32)
    monkeypatch.setattr(benchmarks, "settings_for", settings)
    monkeypatch.setattr(benchmarks, "best_seconds", lambda function, repeats: function() or 1.0)


def use(monkeypatch, network):
    """Make a network the only backbone, named ``given``."""
    spec = SimpleNamespace(build=lambda weights: network)
    monkeypatch.setattr(benchmarks, "catalogue", lambda: SimpleNamespace(backbones={"given": spec}))
    monkeypatch.setattr(benchmarks, "build_part", lambda spec, weights: spec.build(weights))


def test_operations_of_fused_attention_are_counted():
    fused, separate = vitsplice_tiny.tiny_vit(), vitsplice_tiny.tiny_vit()
    for block in separate.model.blocks:
        block.attn.fused_attn = False
    blocks, tokens, width = 3, 4 * 4 + 1, 32
    recomputed = blocks * 2 * tokens * tokens * width  # products of queries and keys, in the backward pass
    assert benchmarks.pass_flops(fused, 1, (32, 32)) == benchmarks.pass_flops(separate, 1, (32, 32)) + recomputed


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_every_timed_step_with_a_bank_uses_stored_targets(monkeypatch):
    loops = [loop for name, loop in benchmarks.loops_by_name("tiny-vit").items() if ", bank" in name]
    assert len(loops) == 2
    for loop in loops:
        for _ in range(benchmarks.WARM_UP):
            next(loop)
    stored = []
    monkeypatch.setattr(MemoryBank, "put", lambda *arguments: stored.append(arguments))
    for loop in loops:
        for _ in range(2):
            next(loop)
    assert not stored


@pytest.mark.usefixtures("small")
def test_passes_of_a_backbone_with_a_fixed_size_are_of_this_size(monkeypatch):
    monkeypatch.setattr(benchmarks, "matmul_rate", lambda dtype: 1.0)
    use(monkeypatch, vitsplice_tiny.tiny_vit(dynamic_img_size=False))
    times = benchmarks.pass_times("given")
    assert list(times["seconds_by_size"]) == ["32x32"]
    assert list(times["seconds_by_views"]) == ["1", "2", "4", "8"]


@pytest.mark.usefixtures("small")
def test_passes_have_three_sizes_that_the_backbone_accepts(monkeypatch):
    monkeypatch.setattr(benchmarks, "SIZE", 30)
    monkeypatch.setattr(benchmarks, "matmul_rate", lambda dtype: 1.0)
    assert list(benchmarks.pass_times("tiny-vit")["seconds_by_size"]) == ["32x32", "64x64", "88x88"]


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_terms_of_quick_have_images_of_the_size_of_the_other_loops(monkeypatch):
    network, sides = vitsplice_tiny.tiny_vit(), set()
    network.register_forward_pre_hook(lambda _, arguments: sides.update(arguments[0].shape[-2:]))
    monkeypatch.setattr(benchmarks, "_new_backbone", lambda name, precision, frozen=True: network)
    next(benchmarks.loops_by_name("tiny-vit")["Splice terms of quick, no bank, float32"])
    assert sides == {32}  # as in the other loops; quick itself has 224


def test_a_function_is_called_once_more_than_it_is_timed():
    calls = []
    assert benchmarks.best_seconds(lambda: calls.append(1), 3) >= 0
    assert len(calls) == 4


def test_weights_of_a_backbone_that_is_no_module_require_gradients_in_the_plain_loop(monkeypatch):
    class Wrapper:
        def __init__(self):
            self.network = vitsplice_tiny.tiny_cnn()

        def to(self, device, dtype):
            return self

    use(monkeypatch, Wrapper())
    network = benchmarks._new_backbone("given", "float32", frozen=False).network
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_unknown_backbone_is_refused_before_all_benchmarks_even_if_only_the_run_is_timed():
    with pytest.raises(UnknownName, match="nosuch"):
        benchmarks.bench(
            settings_for("tiny"), list, "nosuch", names=["run"], done=lambda name, result: pytest.fail(name)
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps=0 is not allowed; it must be from 1 to 1000"),
        ({"steps": 1001}, "steps=1001 is not allowed"),
        ({"names": ["run", "step"]}, "no benchmark 'step'; available are processes, steps, passes, run"),
    ],
)
def test_steps_out_of_range_and_unknown_benchmarks_are_refused_before_all_benchmarks(arguments, message):
    with pytest.raises(UserError, match=message):
        benchmarks.bench(settings_for("tiny"), list, **arguments, done=lambda name, result: pytest.fail(name))
