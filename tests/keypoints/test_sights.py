import pytest
import torch

from tests.analysis.toys import Toy, colour
from tests.keypoints.trees import image
from vitsplice.contracts import FeatureRequest
from vitsplice.errors import ImageError, VitspliceError
from vitsplice.keypoints import View, sights

MAP = FeatureRequest("map")


@pytest.fixture
def read(monkeypatch):
    """The names of the images that are read."""
    seen, real = [], sights.read
    monkeypatch.setattr(sights, "read", lambda path: seen.append(path.name) or real(path))
    return seen


def looking(room=sights.ROOM, see=colour, requests=(MAP,)):
    return sights.Sights(lambda: Toy(see), requests, 64, torch.device("cpu"), room)


def test_a_image_is_read_once_as_long_as_there_is_room(tmp_path, read):
    one, two, three = (View(image(tmp_path / f"{n}.png", n)) for n in range(3))
    sight = looking()
    for view in (one, two, three, one, two, three):
        sight(view)
    assert read == ["0.png", "1.png", "2.png"]


def test_without_room_two_are_remembered(tmp_path, read):
    one, two, three = (View(image(tmp_path / f"{n}.png", n)) for n in range(3))
    sight = looking(room=0)
    for view in (one, two, one, two, three, two, one):
        sight(view)
    assert read == ["0.png", "1.png", "2.png", "0.png"]


def test_with_room_for_three_the_last_three_are_remembered_however_many_came_before(tmp_path, read):
    views = [View(image(tmp_path / f"{n}.png", n)) for n in range(6)]
    sight = looking(room=3 * looking()(views[0]).bytes)
    read.clear()
    for view in [*views, *views[-3:]]:
        sight(view)
    assert read == [f"{n}.png" for n in range(6)]
    sight(views[2])
    assert read[-1] == "2.png"


def test_sizes_and_all_requests_at_once(tmp_path):
    requests = (MAP, FeatureRequest("map", -2))
    sight = looking(requests=requests)(View(image(tmp_path / "a.png", height=50, width=100)))
    assert (sight.size, sight.looked) == ((50, 100), (48, 88))
    assert [sight.features[request].grid for request in requests] == [(12, 22), (6, 11)]
    assert sight.lengths(MAP).shape == (48, 88)
    assert sight.bytes >= 4 * (12 * 22 * 3 + 6 * 11 * 3 + 2 * 48 * 88)


def test_a_warped_view_is_another_image_of_the_same_shape(tmp_path):
    path = image(tmp_path / "a.png", height=50, width=100)
    plain, flipped = (sights.pixels_of(View(path, warp), 50) for warp in ("", "flip"))
    assert torch.allclose(plain.flip(3), flipped, atol=1e-4)
    grey = sights.pixels_of(View(path, "flip", "grey"), 50)
    assert torch.allclose(grey[:, 0], grey[:, 2])
    assert (grey - flipped).abs().max() > 0.1


def test_a_image_of_another_size_than_its_annotation_says_is_refused(tmp_path):
    path = image(tmp_path / "a.png", height=50, width=100)
    assert looking()(View(path, size=(50, 100))).size == (50, 100)
    with pytest.raises(ImageError, match=r"is 100x50 px, and its annotation was made for 50x100"):
        looking()(View(path, size=(100, 50)))


def test_a_backbone_that_gives_nan_is_not_measured(tmp_path):
    with pytest.raises(VitspliceError, match=r"not finite for map\[-1\]"):
        looking(see=lambda images: images / 0 - images / 0)(View(image(tmp_path / "a.png")))
