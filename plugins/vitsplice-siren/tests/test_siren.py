import pytest
import torch
from vitsplice_siren.network import Siren

from vitsplice.errors import ConfigError
from vitsplice.options import complete
from vitsplice.plugins import catalogue
from vitsplice.testing import GeneratorContract


class TestSiren(GeneratorContract):
    name = "siren"


def test_frequency_that_would_overflow_is_refused():
    with pytest.raises(ConfigError, match=r"frequency.*10000"):
        complete(catalogue().generators["siren"], {"frequency": 1e40})


@pytest.mark.slow
def test_first_output_is_the_start_image_and_training_fits_another_image():
    generator = torch.Generator().manual_seed(0)
    start = 0.1 + 0.8 * torch.rand(1, 3, 20, 24, generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        siren = Siren(start, width=64, layers=3, frequency=30.0)
    torch.testing.assert_close(siren(start), start)
    target = torch.nn.functional.interpolate(
        torch.rand(1, 3, 4, 4, generator=generator), size=(20, 24), mode="bilinear"
    )
    optimiser = torch.optim.Adam(siren.parameters(), lr=2e-3)
    before = (siren(start) - target).square().mean()
    for _ in range(75):
        optimiser.zero_grad()
        (siren(start) - target).square().mean().backward()
        optimiser.step()
    assert (siren(start) - target).square().mean() < 0.1 * before
