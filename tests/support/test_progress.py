from vitsplice.support.progress import NULL_REPORTER


def test_nobody_never_stops_anything_and_hears_all():
    NULL_REPORTER.part("image", 1, 2)
    NULL_REPORTER.note("a line")
    assert not NULL_REPORTER.stopped()
