"""Check that features are finite: NaN or infinity gives meaningless results, or later an error that hides the cause."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from vitsplice.contracts import Backbone, FeatureRequest, Features
from vitsplice.errors import VitspliceError
from vitsplice.text import printable


def finite_features(
    backbone: Backbone, inputs: Tensor, requests: Iterable[FeatureRequest], image: str
) -> dict[FeatureRequest, Features]:
    """Compute features of an image in one pass of a backbone, and check that they are finite.

    Args:
        backbone: a loaded backbone.
        inputs: the image at a size that the backbone accepts, ``(1, 3, H, W)`` in [0, 1], on its device.
        requests: requests for facets of the backbone.
        image: name of the image for the error.

    Raises:
        VitspliceError: if a feature has NaN or infinite values.
    """
    features = backbone(inputs, requests)
    for request, feature in features.items():
        check_finite(feature.values, str(request), backbone.info.name, image)
    return features


def check_finite(values: Tensor, feature: str, backbone: str, image: str) -> None:
    """Raise VitspliceError, with the names of feature, backbone and image, if values of a feature are not finite."""
    if not bool(values.isfinite().all()):
        raise VitspliceError(
            f"backbone '{backbone}' returns NaN or infinite values for {feature} of '{printable(image)}'; "
            "check its weights, or choose another backbone"
        )
