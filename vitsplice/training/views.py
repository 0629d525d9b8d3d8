"""Views of training pairs, drawn as in a run, except that at each step the crops of a role have one size in all pairs.

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

    The scale of the crops of a role is the same for all pairs at a step. Without a bank (`ViewConfig.bank`), positions
    and flips of crops differ by pair and step. With a bank, the step determines the number of the view in the bank, the
    same for all pairs, and positions and flips differ by image and number.

    Args:
        config: how views are drawn.
        images: images of the pair.
        identities: text that identifies each image of the pair.
        seed, step: determine the random numbers.
    """
    views: dict[ViewKey, View] = {}
    pair = "".join(identities.values())
    for role in ROLES:
        settings, image = config.of(role), images.pixels[role]
        views[role, "entire"] = entire(image)
        if settings.bank is None:
            views[role, "crop"] = _drawn(settings, image, pair, seed, step, role)
        else:
            number = integer(stream(seed, step, role), 0, settings.bank - 1)
            views[role, "crop"] = _bank_view(settings, image, identities[role], seed, role, number)
    for kind in ("entire", "crop"):
        views["start", kind] = views["structure", kind]
    return views


def stored_views(config: ViewsConfig, key: ViewKey, image: Tensor, identity: str, seed: int) -> list[View]:
    """List the recurring views of an image: the entire image, or the crops of the bank ([] without a bank).

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
    settings = config.of(role)
    return [_bank_view(settings, image, identity, seed, role, number) for number in range(settings.bank or 0)]


def _bank_view(settings: ViewConfig, image: Tensor, identity: str, seed: int, role: Role, number: int) -> View:
    return _drawn(settings, image, identity, seed, "bank", role, number)


def _drawn(settings: ViewConfig, image: Tensor, identity: str, seed: int, *key: object) -> View:
    """Draw a view. The scale of its crop depends only on seed and key, everything else also on ``identity``."""
    low, high = settings.crop
    scale = uniform(stream(seed, *key, "scale"), low, high)
    fixed = settings.model_copy(update={"crop": (scale, scale)})
    return draw(fixed, image.shape[-2], image.shape[-1], stream(seed, *key, identity))
