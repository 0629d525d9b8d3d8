import pytest

from vitsplice.errors import UserError
from vitsplice.video.paths import check_paths


def test_a_link_to_an_appearance_image_is_refused_as_output(tmp_path):
    source, image, out = (tmp_path / name for name in ("clip.mp4", "zebra.jpg", "out.mp4"))
    for file in (source, image):
        file.touch()
    out.symlink_to(image)
    with pytest.raises(UserError, match=r"out\.mp4 is the input .*zebra\.jpg; choose another output"):
        check_paths(out, tmp_path / "out-video", source, [image])
