import torch

from tests.conftest import noise
from tests.engine.test_loop import RecordingBackbone
from vitsplice.backbones.inputs import Resize
from vitsplice.config import ViewsConfig
from vitsplice.contracts import LAB, MASK, MATCH, PIXELS, FeatureRequest
from vitsplice.engine.features import SizedBackbone
from vitsplice.engine.images import RunImages
from vitsplice.engine.targets import MemoryBank, Targets
from vitsplice.images.transforms import to_lab
from vitsplice.matching import MatchVectors

KEY = FeatureRequest("key")


def images(pair):
    return RunImages({"structure": pair[0], "appearance": pair[1], "start": pair[0].flip(1)})


def config(bank):
    view = {"crop": [0.9, 0.9], "shape": "image", "bank": bank, "flip": 0}
    return ViewsConfig.model_validate({"structure": view, "appearance": view})


def test_features_of_banked_views_are_computed_once_and_equal_fresh_ones(vit, pair):
    recording, settings = RecordingBackbone(vit), config(3)
    banked = Targets(images(pair), SizedBackbone(recording, Resize(32)), MemoryBank(settings), None)
    fresh = Targets(images(pair), SizedBackbone(vit, Resize(32)), MemoryBank(config(None)), None)
    distinct_views = set()
    for step in range(30):
        views = images(pair).views(settings, 0, step)
        view_key = ("appearance", "crop")
        distinct_views.add(views[view_key])
        features = banked({view_key: [KEY]}, views)[view_key][KEY]
        torch.testing.assert_close(features.values, fresh({view_key: [KEY]}, views)[view_key][KEY].values)
    assert len(distinct_views) == 3
    assert len(recording.passes) == 3
    assert not any(gradients for _, gradients in recording.passes)


def test_crops_of_shape_image_keep_the_aspect_ratio(vit, pair):
    view = images(pair).views(config(3), 0, 0)["structure", "crop"]
    assert (view.height, view.width) == (36, 43)


def test_start_has_the_view_of_the_structure_image(pair):
    views = images(pair).views(ViewsConfig(), 5, 7)
    assert views["start", "crop"] == views["structure", "crop"]


def test_pixels_need_no_backbone_pass(vit, pair):
    recording = RecordingBackbone(vit)
    vectors = MatchVectors(noise(1, 5, 6, 7), noise(1, 5, 8, 9))
    targets = Targets(images(pair), SizedBackbone(recording, Resize(32)), MemoryBank(config(None)), vectors)
    views = images(pair).views(config(None), 0, 0)
    start, appearance = ("start", "crop"), ("appearance", "crop")
    features = targets({start: [PIXELS], appearance: [KEY, LAB, MATCH, PIXELS]}, views)
    assert recording.passes == [(1, False)]  # for the facet key
    assert set(features[start]) == {PIXELS}
    assert features[appearance][MATCH].values.shape[-1] == 5
    expected = Resize(32)(views[start](images(pair).pixels["start"]), vit.info)
    torch.testing.assert_close(features[start][PIXELS].maps, expected)
    torch.testing.assert_close(features[appearance][LAB].maps, to_lab(features[appearance][PIXELS].maps))


def test_only_features_of_the_appearance_image_are_masked(vit, pair):
    mask = torch.zeros_like(pair[0][:, :1])
    mask[..., :24] = 1
    masked = RunImages(images(pair).pixels, {"structure": mask, "appearance": mask})
    requests = {(image, "crop"): [KEY] for image in ("structure", "start", "appearance")}
    views = masked.views(config(None), 0, 0)
    features = Targets(masked, SizedBackbone(vit, Resize(32)), MemoryBank(config(None)), None)(requests, views)
    appearance = ("appearance", "crop")
    assert [image for image in requests if MASK in features[image]] == [appearance]
    assert 0.4 < features[appearance][MASK].values.mean() < 0.6
    unmasked = Targets(images(pair), SizedBackbone(vit, Resize(32)), MemoryBank(config(None)), None)(requests, views)
    assert not any(MASK in features for features in unmasked.values())


def test_views_contain_the_small_masks_of_both_images(pair):
    narrow = torch.zeros(1, 1, 40, 48)
    narrow[..., :2, :2] = 1
    masked = RunImages(images(pair).pixels, {"structure": narrow, "appearance": narrow.flip(-1)})
    for step in range(30):
        views = masked.views(config(None), 0, step)
        for image in ("structure", "appearance"):
            assert views[image, "crop"].crop(masked.masks[image]).sum() == 4
        assert views["start", "crop"] == views["structure", "crop"]
