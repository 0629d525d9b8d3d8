from clips import panned

from vitsplice.video.excerpt import Excerpt
from vitsplice.video.source import Frame


def test_removed_frames_are_not_held(tmp_path):
    excerpt, images = Excerpt(tmp_path, expected=4), panned(2)
    excerpt.add([Frame(index, pixels, index) for index, pixels in enumerate(images)], images)
    assert excerpt.holds(2)
    assert not excerpt.holds(3)
    for name in ("00000-before.png", "00001-after.jpg"):
        content = (tmp_path / "excerpt" / name).read_bytes()
        (tmp_path / "excerpt" / name).unlink()
        assert not excerpt.holds(2)
        (tmp_path / "excerpt" / name).write_bytes(content)
    assert excerpt.holds(2)
