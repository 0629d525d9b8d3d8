"""The contract of conditional generators finds every deliberate mistake."""

import random

import pytest
import torch

from tests.testing.failures import failures
from vitsplice.contracts import ConditionalGeneratorSpec, Option
from vitsplice.testing import ConditionalGeneratorContract

pytestmark = pytest.mark.slow


class Net(torch.nn.Module):
    """A convolution of structure image and warm start, with a bias computed from the [CLS] token."""

    def __init__(self, channels):
        super().__init__()
        self.conv = torch.nn.Conv2d(6, 3, 3, padding=1)
        self.affine = torch.nn.Linear(channels["cls"], 3)

    def forward(self, structure, condition):
        images = torch.cat([structure, condition["start"]], 1)
        return (self.conv(images) + self.affine(condition["cls"])[..., None, None]).sigmoid()


class ZeroInitialised(Net):
    def __init__(self, channels):
        super().__init__(channels)
        for parameter in self.parameters():
            torch.nn.init.zeros_(parameter)


class Shrinks(Net):
    def forward(self, structure, condition):
        return super().forward(structure, condition)[..., ::2, ::2]


class ReturnsOnlyTheFirstImage(Net):
    def forward(self, structure, condition):
        return super().forward(structure, condition)[:1]


class WorksOnlyForEvenSizes(Net):
    def forward(self, structure, condition):
        halves = torch.nn.functional.avg_pool2d(super().forward(structure, condition), 2)
        return torch.nn.functional.interpolate(halves, scale_factor=2)


class Unbounded(Net):
    def forward(self, structure, condition):
        return 9 * super().forward(structure, condition)


class IgnoresStructure(Net):
    def forward(self, structure, condition):
        return super().forward(torch.zeros_like(structure), condition)


class IgnoresCls(Net):
    def forward(self, structure, condition):
        return super().forward(structure, condition | {"cls": torch.ones_like(condition["cls"])})


class IgnoresStart(Net):
    def forward(self, structure, condition):
        return super().forward(structure, condition | {"start": structure})


class MixesTheBatch(Net):
    def forward(self, structure, condition):
        output = super().forward(structure, condition)
        return 0.9 * output + 0.1 * output.mean(0, keepdim=True)


class UsesPythonRandom(Net):
    def __init__(self, channels):
        super().__init__(channels)
        self.conv.bias.data.fill_(random.random())


class HasUnusedParameter(Net):
    def __init__(self, channels):
        super().__init__(channels)
        self.unused = torch.nn.Parameter(torch.zeros(3))


class HasIncompleteStateDict(Net):
    def __init__(self, channels):
        super().__init__(channels)
        self.tint = torch.rand(1, 3, 1, 1)

    def forward(self, structure, condition):
        return super().forward(structure, condition) * self.tint


class ModifiesCondition(Net):
    def forward(self, structure, condition):
        condition["start"].mul_(0.5)
        return super().forward(structure, condition)


class UsesAnotherCondition(Net):
    def forward(self, structure, condition):
        return super().forward(structure, condition) * condition["appearance"]


class UnderstatesItsReach(Net):
    reach = 0


class StatesItsReach(Net):
    reach = 1


class UsesImageStatistics(StatesItsReach):
    def forward(self, structure, condition):
        return super().forward(structure - structure.mean((2, 3), keepdim=True), condition)


class SeesDistantRows(StatesItsReach):
    def forward(self, structure, condition):
        return super().forward(structure + structure.roll(13, 2), condition)


class SeesColumnsToTheRight(StatesItsReach):
    def forward(self, structure, condition):
        start = torch.nn.functional.pad(condition["start"], (0, 13))[..., 13:]
        return super().forward(structure, condition | {"start": start})


MISTAKES = {
    Shrinks: "output_is_an_image",
    ReturnsOnlyTheFirstImage: "output_is_an_image",
    WorksOnlyForEvenSizes: "output_is_an_image",
    Unbounded: "output_is_an_image",
    IgnoresStructure: "depends_on_structure",
    IgnoresCls: "depends_on_every_condition",
    IgnoresStart: "depends_on_every_condition",
    MixesTheBatch: "batch",
    UsesPythonRandom: "deterministic",
    HasUnusedParameter: "optimised",
    HasIncompleteStateDict: "state_dict",
    ModifiesCondition: "not_modified",
    UsesAnotherCondition: "output_is_an_image",
    UnderstatesItsReach: "reach",
    UsesImageStatistics: "reach",
    SeesDistantRows: "reach",
    SeesColumnsToTheRight: "reach",
}


def spec(network=Net, conditions=("cls", "start"), **settings):
    settings = {"summary": "a network"} | settings
    return ConditionalGeneratorSpec(
        "mutant", lambda channels, options: network(channels), conditions=conditions, **settings
    )


@pytest.mark.parametrize("network", MISTAKES, ids=lambda network: network.__name__)
def test_violated_contract_is_detected(network):
    assert failures(ConditionalGeneratorContract, MISTAKES[network], spec=spec(network))


@pytest.mark.parametrize(
    "settings",
    [
        {"summary": ""},
        {"conditions": ()},
        {"conditions": ("cls", "start", "cls")},
        {"options": {"width": Option(3, "width", maximum=2)}},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_incomplete_or_invalid_spec_is_detected(settings):
    assert failures(
        ConditionalGeneratorContract, "spec_is_complete", spec=spec(lambda channels: torch.nn.Identity(), **settings)
    )


def test_unknown_condition_is_reported_by_name():
    reasons = failures(ConditionalGeneratorContract, spec=spec(conditions=("cls", "begin")))
    assert "there is no condition 'begin'; there are cls, appearance, start, warped" in reasons["build"]


@pytest.mark.parametrize("network", [Net, ZeroInitialised, StatesItsReach])
def test_correct_network_passes(network):
    assert failures(ConditionalGeneratorContract, spec=spec(network)) == {}
