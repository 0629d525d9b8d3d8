import pytest

from vitsplice.support.sized_cache import SizedCache


def computed(limit, keys):
    """Request keys in order; return those whose values are computed. A key is its own value and the value's size."""
    cache, calls = SizedCache(limit, size_of=lambda value: value), []
    for key in keys:
        assert cache.get(key, lambda key=key: calls.append(key) or key) == key
    return calls


@pytest.mark.parametrize(
    ("limit", "keys", "expected"),
    [
        (60, [10, 20, 30, 10, 20, 30], [10, 20, 30]),
        (59, [10, 20, 30, 20, 30, 10], [10, 20, 30, 10]),
        (59, [10, 20, 10, 30, 10, 20], [10, 20, 30, 20]),
        (0, [10, 20, 10, 20, 30, 10], [10, 20, 30, 10]),
    ],
    ids=["all fit", "the first is dropped", "the least recently used is dropped", "two are always cached"],
)
def test_values_that_were_used_last_are_not_computed_again(limit, keys, expected):
    assert computed(limit, keys) == expected


def test_value_that_cannot_be_computed_is_not_cached():
    cache = SizedCache(10, size_of=len)
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: 1 / 0)
    assert cache.get("a", lambda: "b") == "b"
