import re

from tests.analysis.synthetic import comparison, info
from vitsplice.analysis.findings import CAUTION, findings


def test_sentences_state_supported_differences_with_their_intervals():
    infos = [info("one"), info("two"), info("blind", source="random weights")]
    found = comparison(infos, {"one": 3.0, "two": 1.0, "blind": 1.0}, images=60)
    sentences = findings(found)
    assert findings(found) == sentences
    assert re.match(r"Selectivity of the structure feature, layer -1: one 2\.9\d \[2\.\d\d, 3\.\d\d\], ", sentences[0])
    assert sentences[0].endswith("not distinguished: two and blind (untrained).") or sentences[0].endswith(
        "not distinguished: blind (untrained) and two."
    )
    assert not any("PCK" in sentence for sentence in sentences)
    assert sentences[-1] == CAUTION


def test_four_images_support_no_sentence_about_a_difference():
    infos = [info("one"), info("control", source="random weights")]
    (sentence,) = findings(comparison(infos, {"one": 50.0, "control": 1.0}, images=4))
    assert sentence.startswith("4 images are too few to support a difference")


def test_what_does_not_differ_is_not_claimed():
    (sentence,) = findings(comparison([info("one"), info("two")], {"one": 1.0, "two": 1.0}))
    assert sentence.startswith("No difference between backbones is supported by these 20 images")


def test_many_backbones_do_not_make_a_long_sentence():
    names = [f"backbone-{n}" for n in range(12)]
    found = comparison([info(name) for name in names], {name: 1.0 + n for n, name in enumerate(names)}, images=40)
    sentences = findings(found)
    assert len(sentences) <= 6
    assert all(sentence.count("[") <= 4 for sentence in sentences)
    assert "highest backbone-11" in sentences[0]
    assert "lowest backbone-0" in sentences[0]
