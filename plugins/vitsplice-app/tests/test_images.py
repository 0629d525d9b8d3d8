"""Checks of images from the browser."""

import pytest
from vitsplice_app.errors import error_card
from vitsplice_app.images import check_images, check_uploads, image_input

from vitsplice.errors import ImageError
from vitsplice.images import example


def test_file_with_a_valid_header_and_a_missing_end_is_refused(tmp_path):
    path = tmp_path / "truncated.jpg"
    path.write_bytes(example()[0].read_bytes()[:20_000])
    with pytest.raises(ImageError, match=r"truncated\.jpg' cannot be decoded"):
        check_images(example()[0], path)


@pytest.mark.slow
def test_changes_of_all_images_are_one_event_of_which_the_latest_ends_last(build_page):
    page = build_page(lambda: check_uploads(error_card(), image_input("first"), image_input("second")))
    (function,) = page.fns.values()
    assert [event for _, event in function.targets] == ["change", "change"]
    assert function.trigger_mode == "always_last"


def test_absent_images_are_not_checked():
    check_images(None, *example())
