"""Receptive fields, measured by gradients."""

import torch


def receptive_radius(generator, image, multiple):
    """Return the largest distance in pixels from a row of the output to a row of the input that affects the output row.

    Args:
        generator: function from image to image.
        image: input image, taller than twice the radius; it may be narrow.
        multiple: factor between the sizes of the first and the last level, which is the number of rows measured.
    """
    image = image.requires_grad_()
    output = generator(image)
    middle, column = image.shape[-2] // 2, image.shape[-1] // 2
    radii = []
    for row in range(middle, middle + multiple):
        (gradient,) = torch.autograd.grad(output[0, 0, row, column], image, retain_graph=True)
        rows = gradient.abs().sum((0, 1, 3)).nonzero()
        radii.append(int((rows - row).abs().max()))
    return max(radii)
