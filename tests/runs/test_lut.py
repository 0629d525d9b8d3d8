"""LUT of a run, and the structure mask that it is fitted within."""

import pytest
import torch

from tests.conftest import noise
from vitsplice.errors import UserError
from vitsplice.luts import read_cube
from vitsplice.runs.lut import checked_mask_of_lut, write_lut
from vitsplice.runs.record import RunOutput


def half_white():
    mask = torch.zeros(3, 40, 48)
    mask[..., :24] = 1
    return mask


def test_mask_is_the_mean_of_its_channels_at_the_size_of_the_output():
    mask = checked_mask_of_lut(half_white() * torch.tensor([1.0, 1.0, 0.0]).view(3, 1, 1), 20)
    assert mask.shape == (1, 20, 24)
    torch.testing.assert_close(mask[..., :10], torch.full((1, 20, 10), 2 / 3), atol=1e-2, rtol=0)


def test_mask_that_is_white_only_before_it_is_resized_is_refused():
    spot = torch.zeros(3, 40, 48)
    spot[:, 20, 20] = 1
    assert checked_mask_of_lut(spot, None).sum() == checked_mask_of_lut(spot, 40).sum() == 1
    with pytest.raises(
        UserError, match=r"at the size of the output, 19x16 px, .* excludes every pixel .* leave out lut"
    ):
        checked_mask_of_lut(spot, 16)


@pytest.mark.slow
def test_lut_is_fitted_only_within_the_mask(tmp_path):
    structure = noise(3, 40, 48)
    output = torch.where(half_white() > 0.5, structure / 2, structure)
    result = RunOutput(
        output, (), None, {}, finished=True, inputs={"structure": structure, "structure_mask": half_white()}
    )
    record = write_lut(result, tmp_path / "darker.cube")
    assert record["path"] == str(tmp_path / "darker.cube")
    assert record["delta_e"]["mean"] < 0.1 * record["delta_e_unchanged"]["mean"]
    darkened = read_cube(tmp_path / "darker.cube").apply(structure)
    assert (darkened - structure / 2).abs().mean() < 0.02
