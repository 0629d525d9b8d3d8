import torch

from vitsplice.analysis.upsampling import upsample


def test_upsampling_repeats_blocks_or_follows_edges_of_the_image():
    maps = torch.zeros(3, 8, 10)
    maps[:, :, 5:] = 1
    image = torch.zeros(1, 3, 80, 100)
    image[..., 47:] = 1
    assert torch.equal(upsample(maps, image, "blocks")[:, ::10, ::10], maps)
    edges = upsample(maps, image, "edges")
    assert edges.shape == (3, 80, 100)
    assert 0 <= edges.min() <= edges.max() <= 1
    jump = edges[:, 60].diff(dim=-1).abs().sum(0)
    assert jump.argmax() == 46  # the edge of the image; that of the grid is at 50
