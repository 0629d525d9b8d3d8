from vitsplice.support.progress import NULL_REPORTER


def test_null_reporter_accepts_reports_and_never_stops():
    NULL_REPORTER.part("image", 1, 2)
    NULL_REPORTER.note("a line")
    assert not NULL_REPORTER.stopped()
