import pytest

from tests.keypoints.trees import known_pascal, known_spair
from vitsplice.errors import UserError
from vitsplice.keypoints import find


def test_a_data_set_is_known_by_its_layout(tmp_path, png):
    spair, pascal = known_spair(tmp_path / "one"), known_pascal(tmp_path / "two")
    found = [find([spair]), find([spair], subset="small"), find([pascal]), find(png), find()]
    assert [data.count for data in found] == [3, 1, 2, 8, 16]
    assert [data.facts.get("layout") for data in found] == ["SPair-71k", "SPair-71k", "PF-PASCAL", None, None]


@pytest.mark.parametrize(
    ("sources", "settings", "told"),
    [
        (["empty"], {}, "PairAnnotation/SPLIT.*SPLIT_pairs_pf_pascal.csv"),
        (["empty", "empty"], {}, "give one folder"),
        (["empty", "gone.png"], {}, "give one folder"),
        (["gone.png"], {}, "is not there"),
        (["x" * 300], {}, "is not there"),
        (["one"], {"split": "x" * 300}, "no folder"),
        (["two"], {"split": "x" * 300}, "list of split x"),
        ([], {"split": "test"}, "no splits"),
        (["one"], {"change": "grey"}, "as they are"),
        ([], {"change": "style"}, "no change 'style'"),
        (["two"], {"subset": "small"}, "subset"),
        (["two"], {"split": "x"}, "list of split x"),
        (["one"], {"split": "x"}, "no folder"),
    ],
)
def test_mistakes_say_what_was_looked_for(tmp_path, sources, settings, told):
    (tmp_path / "empty").mkdir()
    known_spair(tmp_path / "one"), known_pascal(tmp_path / "two")
    with pytest.raises(UserError, match=told):
        find([tmp_path / name for name in sources], **settings)
