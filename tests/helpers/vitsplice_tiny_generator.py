"""A conditional generator of a few convolutions, which depends on each of its conditions."""

import torch
import torch.nn.functional as F
from torch import nn


class TinyTint(nn.Module):
    """Correct the warm start by convolutions of all conditions; the receptive field has a radius of at most `reach`."""

    reach = 40

    def __init__(self, channels, strength=1.0):
        super().__init__()
        self.strength = strength
        self.tint = nn.Linear(channels["cls"] + channels["appearance"], 6)
        self.warped = nn.Conv2d(channels["warped"], 6, 1)
        self.first = nn.Conv2d(6, 6, 3, padding=1)
        self.last = nn.Conv2d(6, 3, 5, padding=2)

    def forward(self, structure, condition):
        images = torch.cat([structure, condition["start"]], 1)
        vector = torch.cat([condition["cls"], condition["appearance"].mean((2, 3))], 1)
        warped = F.interpolate(self.warped(condition["warped"]), size=structure.shape[-2:], mode="bilinear")
        maps = torch.tanh(self.first(images) + warped + self.tint(vector)[..., None, None])
        return (condition["start"] + self.strength * 0.2 * self.last(maps)).clamp(0, 1)
