import pytest
import torch

from tests.analysis.toys import Toy
from vitsplice.analysis.comparison_images import ComparedImage
from vitsplice.analysis.correspondence import match_images
from vitsplice.analysis.cosegmentation import cosegment
from vitsplice.analysis.encoding import encode_image
from vitsplice.analysis.local_features import local_features
from vitsplice.errors import VitspliceError


class Invalid(Toy):
    """A toy backbone whose features are not finite."""

    def __init__(self, value):
        super().__init__(lambda images: torch.full_like(images, value), "invalid")


def test_descriptors_of_the_mirror_image_that_are_not_finite_are_refused():
    def invalid_if_mirrored(images):
        return images.log() if images[..., 0].mean() < images[..., -1].mean() else images * float("nan")

    image = torch.linspace(0.1, 1, 64).expand(1, 3, 64, 64)
    with pytest.raises(VitspliceError, match="'toy' returns NaN or infinite values"):
        match_images(image, image, backbone=Toy(invalid_if_mirrored), grid=4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "use",
    [
        lambda image, backbone: local_features([image], backbone=backbone, size=32),
        lambda image, backbone: cosegment([image], backbone=backbone, size=32),
        lambda image, backbone: match_images(image, image, backbone=backbone, grid=4),
        lambda image, backbone: encode_image(ComparedImage("a", image), backbone, torch.device("cpu")),
    ],
    ids=["local_features", "cosegment", "match_images", "encode_image"],
)
def test_features_that_are_not_finite_are_refused_by_name(pair, use, value):
    with pytest.raises(VitspliceError, match=r"'invalid' returns NaN or infinite values for map\[-[12]\].* of '.+'"):
        use(pair[0], Invalid(value))
