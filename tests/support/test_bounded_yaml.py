import time

import pytest
import yaml

from vitsplice.support import bounded_yaml
from vitsplice.support.bounded_yaml import Dumper, InvalidYAML, is_valid_text, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("-2E+4", -2e4),
        ("0x10", 16),
        ("0o17", 15),
        ("0123", 123),
        ("+.5", 0.5),
        (".inf", float("inf")),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        ("yes", True),
        ("~", None),
        ("2001-02-03", "2001-02-03"),
        ("=", "="),
        ("{a: [1, b], c: {d: null}}", {"a": [1, "b"], "c": {"d": None}}),
        ("[" * 16 + "]" * 16, [[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]),
    ],
)
def test_plain_values_are_parsed_and_dates_are_text(text, value):
    assert parse(text) == value


@pytest.mark.parametrize("value", ["1e3", "0123", "1:30", "1_000", ".5", "0o17", 1e-5, 1e30, 7, float("inf")])
def test_dumped_values_are_parsed_as_the_same(value):
    parsed = parse(yaml.dump({"a": value}, Dumper=Dumper))["a"]
    assert (parsed, type(parsed)) == (value, type(value))


def test_list_that_occurs_twice_is_dumped_without_aliases():
    shared = {"c": [1, 2]}
    assert parse(yaml.dump({"a": shared, "b": shared}, Dumper=Dumper)) == {"a": shared, "b": shared}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{a: 1, a: 2}", "duplicate key 'a'"),
        ("{b: {a: 1, 'a': 2}}", "duplicate key 'a'"),
        (r'{"a\nb": 1, "a\nb": 2}', r"duplicate key 'a\\nb'"),
        ("{1: 2}", "a key must be text, not 1"),
        ("{[1]: 2}", "a key must be text"),
        ("{null: 2}", "a key must be text"),
        ("9" * 5000, "a number of 5000 characters"),
        ("0x" + "f" * 5000, "a number of 5002 characters"),
        ("[" * 3000, "nested more than 16 levels deep"),
        ("[" * 17 + "]" * 17, "nested more than 16 levels deep"),
        ("a: " * 17 + "1", r"^line 1, column \d+: mapping values are not allowed here$"),
        ("{a: " * 17 + "1" + "}" * 17, "nested more than 16 levels deep"),
        ('"a\\0b"', "NUL"),
        ('"\\ud800"', "UTF-8 cannot encode"),
        ("x" * 5000, "text of 5000 characters"),
        ("!!int x", "tags"),
        ("!!int", "tags"),
        ("!!timestamp 2001-01-01", "tags"),
        ("!!binary aGk=", "tags"),
        ("!!set {a}", "tags"),
        ("!own 3", "tags"),
        ("!!python/object/apply:os.getcwd []", "tags"),
        ("{a: &a 1, b: *a}", "aliases"),
        ("a: [1, 2\nb: }", r"^line 2, column 2: .* got ':' \(while parsing a flow sequence at line 1, column 4\)$"),
        (
            "---\na\n---\nb",
            r"^line 3, column 1: found another document \(expected a single document .* at line 2, column 1\)$",
        ),
        ("a: \x00", "special characters are not allowed at position 3$"),
        ('"\\U00110000"', "escape sequence"),
        ('"\\UFFFFFFFF"', "escape sequence"),
        ("%YAML " + "9" * 5000 + ".1\n--- a", "directive"),
    ],
)
def test_invalid_ambiguous_or_too_large_yaml_is_refused(text, message):
    with pytest.raises(InvalidYAML, match=message) as raised:
        parse(text)
    assert "\n" not in str(raised.value)


def test_merge_key_is_read_as_a_plain_key():
    assert parse("{<<: {a: 1}, b: 2}") == {"<<": {"a": 1}, "b": 2}


def test_valid_text_has_neither_nul_nor_surrogates():
    assert is_valid_text("ä/b")
    assert not is_valid_text("a\0b")
    assert not is_valid_text("\udcff")


@pytest.mark.slow
def test_time_to_construct_a_mapping_grows_linearly_with_its_keys():
    """With a quadratic search for duplicates, 16 times the keys take about 75 times as long."""

    def seconds(node):
        began = time.process_time()
        mapping = bounded_yaml._Loader("").construct_document(node)
        ended = time.process_time()
        assert len(mapping) == len(node.value)
        return ended - began

    few, many = (
        yaml.compose("\n".join(f"k{number}: 1" for number in range(keys)), Loader=bounded_yaml._Loader)
        for keys in (250, 4_000)
    )
    assert min(seconds(many) for _ in range(5)) < 40 * min(seconds(few) for _ in range(5))
