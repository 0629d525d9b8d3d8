import torch

from tests.conftest import noise
from vitsplice.analysis.correspondence import Match, draw, features


def test_a_line_goes_from_where_a_match_is_in_one_image_to_where_it_is_in_the_other():
    first, second = torch.zeros(1, 3, 40, 60), torch.zeros(1, 3, 20, 20)
    drawn = draw([Match((45, 10), (5, 15), 1.0, 1.0)], first, second, height=80)
    assert drawn.shape == (3, 80, 120 + 80)
    red = (drawn[0] == 1).nonzero().double()
    assert red[red[:, 1] < 100].mean(0).sub(torch.tensor([20.0, 90.0])).abs().max() < 10
    ends = red[red[:, 1].argsort()][[0, -1]]
    assert torch.allclose(ends, torch.tensor([[20.0, 90], [60.0, 140]], dtype=torch.float64), atol=4)


def test_a_image_a_thousand_times_as_high_as_wide_is_a_column_at_least():
    assert draw([], noise(1, 3, 16_000, 16), noise(1, 3, 16, 16)).shape == (3, 480, 1 + 480)


def test_the_numbers_name_the_backbone_the_facets_and_the_layers(vit, cnn):
    assert features(vit.info) == [
        {"facet": "key", "layer": -3, "layers": 3}, {"facet": "key", "layer": -1, "layers": 3},
        {"facet": "token", "layer": -1, "layers": 3}, {"facet": "value", "layer": -3, "layers": 3},
    ]  # fmt: skip
    assert {one["facet"] for one in features(cnn.info)} == {"map"}
