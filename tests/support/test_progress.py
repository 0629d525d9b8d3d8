from vitsplice.support.progress import NOBODY


def test_nobody_never_stops_anything_and_hears_all():
    NOBODY.part("image", 1, 2)
    NOBODY.note("a line")
    assert not NOBODY.stopped()
