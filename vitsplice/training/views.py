"""Views of the pairs of a training: like those of a run, but crops of a role have one size for all pairs of a step.

All training images have the same shorter side, so that square crops of one scale have one size and can be stacked.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from vitsplice.config import ViewConfig, ViewsConfig
from vitsplice.contracts import ROLES, Role
from vitsplice.engine.images import RunImages, ViewKey
from vitsplice.engine.views import View, draw, entire, integer, uniform
from vitsplice.errors import ConfigError
from vitsplice.rng import stream


def check_shapes(config: ViewsConfig) -> None:
    """Raise ConfigError unless all crops are square."""
    for role in ROLES:
        if (shape := config.of(role).shape) != "square":
            raise ConfigError(
                f"views.{role}.shape: {shape} is not allowed with training, which stacks the crops of several images; "
                "use square"
            )


def draw_views(
    config: ViewsConfig, images: RunImages, identities: Mapping[Role, str], seed: int, step: int
) -> dict[ViewKey, View]:
    """Draw the views of a pair at a step; start and structure image share views.

    Without a bank, the crop of an image depends on seed, step, role and pair; with a bank, on seed, role, image and the
    number of the view in the bank. The scale of the crop and that number are the same for all pairs at a step.

    Args:
        config: how views are drawn.
        images: images of the pair.
        identities: text that identifies each image of the pair.
        seed, step: determine the random numbers.
    """
    views: dict[ViewKey, View] = {}
    for role in ROLES:
        view, image = config.of(role), images.pixels[role]
        views[role, "entire"] = entire(image)
        if view.bank is None:
            views[role, "crop"] = _drawn(view, image, "".join(identities.values()), seed, step, role)
        else:
            number = integer(stream(seed, step, role), 0, view.bank - 1)
            views[role, "crop"] = _bank_view(view, image, identities[role], seed, role, number)
    for kind in ("entire", "crop"):
        views["start", kind] = views["structure", kind]
    return views


def stored_views(config: ViewsConfig, key: ViewKey, image: Tensor, identity: str, seed: int) -> list[View]:
    """List the views of an image that occur at several steps: those of its bank, or of the entire image.

    Args:
        config: how views are drawn.
        key: the image, and the kind of view.
        image: ``(1, 3, H, W)``.
        identity: text that identifies the image.
        seed: determines the random numbers.
    """
    if key[1] == "entire":
        return [entire(image)]
    role: Role = "appearance" if key[0] == "appearance" else "structure"
    view = config.of(role)
    return [_bank_view(view, image, identity, seed, role, number) for number in range(view.bank or 0)]


def _bank_view(config: ViewConfig, image: Tensor, identity: str, seed: int, role: Role, number: int) -> View:
    return _drawn(config, image, identity, seed, "bank", role, number)


def _drawn(config: ViewConfig, image: Tensor, identity: str, seed: int, *key: object) -> View:
    """Draw a view: the scale of the crop by seed and key alone, and everything else also by the image."""
    low, high = config.crop
    scale = uniform(stream(seed, *key, "scale"), low, high)
    fixed = config.model_copy(update={"crop": (scale, scale)})
    return draw(fixed, image.shape[-2], image.shape[-1], stream(seed, *key, identity))
