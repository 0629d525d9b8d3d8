"""Receptive fields, measured by gradients."""

import torch


def receptive_radius(generator, image, phases):
    """Return the largest distance in pixels between a row of the output and a row of the input with an effect on it.

    Args:
        generator: function from image to image.
        image: an image that is higher than twice the radius; it may be narrow.
        phases: number of neighbouring rows to measure: the factor between the sizes of the first and the last level.
    """
    image = image.requires_grad_()
    output = generator(image)
    middle, column = image.shape[-2] // 2, image.shape[-1] // 2
    radii = []
    for row in range(middle, middle + phases):
        (gradient,) = torch.autograd.grad(output[0, 0, row, column], image, retain_graph=True)
        rows = gradient.abs().sum((0, 1, 3)).nonzero()
        radii.append(int((rows - row).abs().max()))
    return max(radii)
