import torch

from tests.engine.test_loop import Counting
from vitsplice.backbones.inputs import Resize
from vitsplice.config import ViewsConfig
from vitsplice.contracts import MASK, MATCH, PIXELS, FeatureRequest
from vitsplice.engine.images import RunImages
from vitsplice.engine.targets import Targets

KEY = FeatureRequest("key")


def images(pair):
    return RunImages({"structure": pair[0], "appearance": pair[1], "start": pair[0].flip(1)})


def config(bank):
    view = {"crop": [0.9, 0.9], "shape": "image", "bank": bank, "flip": 0}
    return ViewsConfig.model_validate({"structure": view, "appearance": view})


def test_a_bank_is_looked_at_once_a_view_and_gives_the_same(vit, pair):
    counting, settings = Counting(vit), config(3)
    banked = Targets(images(pair), counting, Resize(32), settings)
    fresh = Targets(images(pair), vit, Resize(32), config(None))
    seen = set()
    for step in range(30):
        views = images(pair).views(settings, 0, step)
        place = ("appearance", "crop")
        seen.add(views[place])
        found = banked({place: [KEY]}, views)[place][KEY]
        torch.testing.assert_close(found.values, fresh({place: [KEY]}, views)[place][KEY].values)
    assert len(seen) == 3
    assert len(counting.passes) == 3
    assert not any(gradients for _, gradients in counting.passes)


def test_views_of_the_image_s_shape_keep_it(vit, pair):
    view = images(pair).views(config(3), 0, 0)["structure", "crop"]
    assert (view.height, view.width) == (36, 43)


def test_the_start_is_seen_as_the_structure_image_is(pair):
    views = images(pair).views(ViewsConfig(), 5, 7)
    assert views["start", "crop"] == views["structure", "crop"]


def test_pixels_need_no_pass_of_the_backbone(vit, pair):
    counting = Counting(vit)
    targets = Targets(images(pair), counting, Resize(32), config(None))
    views = images(pair).views(config(None), 0, 0)
    start, appearance = ("start", "crop"), ("appearance", "crop")
    found = targets({start: [PIXELS], appearance: [KEY, MATCH, PIXELS]}, views)
    assert counting.passes == [(1, False)]
    assert set(found[start]) == {PIXELS}
    assert found[appearance][MATCH].grid == found[appearance][KEY].grid
    seen = Resize(32)(views[start](images(pair).pixels["start"]), vit.info)
    torch.testing.assert_close(found[start][PIXELS].maps, seen)


def half(image, masks=("structure", "appearance")):
    mask = torch.zeros(1, 1, *image.shape[-2:])
    mask[..., :24] = 1
    return dict.fromkeys(masks, mask)


def test_a_masked_appearance_image_comes_with_its_mask_and_no_other_image_does(vit, pair):
    masked = RunImages(images(pair).pixels, half(pair[0]))
    places = {(image, "crop"): [KEY] for image in ("structure", "start", "appearance")}
    views = masked.views(config(None), 0, 0)
    found = Targets(masked, vit, Resize(32), config(None))(places, views)
    means = [float(found[place][MASK].values.mean()) for place in places if MASK in found[place]]
    assert means[:-1] == [1.0] * (len(means) - 1)
    assert 0.4 < means[-1] < 0.6
    unmasked = Targets(images(pair), vit, Resize(32), config(None))(places, views)
    assert not any(MASK in features for features in unmasked.values())


def test_views_of_both_images_keep_their_masks(pair):
    narrow = torch.zeros(1, 1, 40, 48)
    narrow[..., :2, :2] = 1
    masked = RunImages(images(pair).pixels, {"structure": narrow, "appearance": narrow.flip(-1)})
    for step in range(30):
        views = masked.views(config(None), 0, step)
        for image in ("structure", "appearance"):
            assert views[image, "crop"].crop(masked.masks[image]).sum() == 4
        assert views["start", "crop"] == views["structure", "crop"]
