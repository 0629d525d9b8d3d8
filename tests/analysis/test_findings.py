import dataclasses

from vitsplice.analysis.comparison import Row
from vitsplice.analysis.findings import findings
from vitsplice.figures import CNN, FIGURES, NEED_A_CNN

from .test_comparison import compared
from .toys import Toy, colour, luma


def test_sentences_follow_the_figures():
    found = compared(Toy(colour, "colour"), Toy(luma, "luma"), Toy(luma, "blind", source="random weights"))
    sentences = findings(found)
    assert findings(found) == sentences
    told = "\n".join(sentences)
    value = max(found.mean("colour", layer, "pck") for layer in (-2, -1))
    assert f"colour {value:.2f} at layer" in told
    assert "luma with blind (untrained) 1.00" in told
    assert "luma is not on all pictures apart from blind (untrained): at the last layer, of 3 pictures" in told
    assert "colour is plainly apart from blind (untrained), by its " in told
    assert "masks" not in told
    assert "Pictures made with" not in told


def test_trends_are_told_in_words():
    from vitsplice.analysis.findings import _trend

    assert _trend([1, 2, 3, 4]) == "rises"
    assert _trend([4, 3, 3.5, 1]) == "falls"
    assert _trend([1, 4, 1, 4, 1]) == "goes up and down"
    assert _trend([1.0, 1.01, 1.02]) == "stays about the same"
    assert _trend([0.0, 0.0, 0.0]) == "stays about the same"
    assert _trend([1.0, float("inf"), 1.02]) == "stays about the same"


def test_no_backbone_is_praised_by_a_figure_that_looks_with_it():
    found = compared(Toy(colour, "colour"), Toy(luma, CNN))
    rows = [Row(name, -1, "transfer", figure, "", 0.00123) for name in found.infos for figure in FIGURES]
    told = findings(dataclasses.replace(found, rows=(*found.rows, *rows)))
    made = [sentence for sentence in told if sentence.startswith("Pictures made")]
    assert len(made) == len(FIGURES)
    for figure, sentence in zip(FIGURES, made, strict=True):
        assert "colour 0.00123" in sentence
        assert (f"{CNN} 0.00123" in sentence) == (figure not in NEED_A_CNN)
        assert (f"not {CNN}" in sentence) == (figure in NEED_A_CNN)
