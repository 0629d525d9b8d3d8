import numpy as np
import pytest
import torch

from tests.keypoints.layouts import small_pfpascal, small_spair
from tests.keypoints.test_features import toy_features
from vitsplice.analysis.transforms import WARPS
from vitsplice.contracts import FeatureRequest
from vitsplice.errors import UserError
from vitsplice.images import encode_png
from vitsplice.keypoints import load_dataset
from vitsplice.keypoints.benchmark import pair_errors
from vitsplice.keypoints.features import FeatureExtractor
from vitsplice.keypoints.loading import KEYPOINTS_PER_SIDE, synthetic_warps


def test_layout_of_a_folder_is_detected(tmp_path, png):
    spair, pascal = small_spair(tmp_path / "spair"), small_pfpascal(tmp_path / "pascal")
    small = load_dataset([spair], subset="small")
    loaded = [load_dataset([spair]), small, load_dataset([pascal]), load_dataset(png), load_dataset()]
    assert [data.count for data in loaded] == [3, 1, 2, 2 * len(WARPS), 4 * len(WARPS)]  # no path: 4 packaged images
    assert [data.details.get("layout") for data in loaded] == ["SPair-71k", "SPair-71k", "PF-PASCAL", None, None]


@pytest.mark.parametrize(
    ("sources", "options", "message"),
    [
        (["empty"], {}, "PairAnnotation/SPLIT.*SPLIT_pairs_pf_pascal.csv"),
        (["empty", "empty"], {}, "give one folder"),
        (["empty", "gone.png"], {}, "give one folder"),
        (["gone.png"], {}, "does not exist"),
        (["gone"], {"split": "test"}, "does not exist"),
        (["x" * 300], {}, "does not exist"),
        (["spair"], {"split": "x" * 300}, "not a folder"),
        (["pascal"], {"split": "x" * 300}, "list of split x"),
        ([], {"split": "test"}, "no splits"),
        (["spair"], {"appearance": "grey"}, "are not transformed"),
        ([], {"appearance": "style"}, "unknown appearance 'style'; choose one of grey, jitter, blur, none"),
        (["pascal"], {"subset": "small"}, "subset"),
        (["pascal"], {"split": "x"}, "list of split x"),
        (["spair"], {"split": "x"}, "not a folder"),
    ],
)
def test_error_names_what_is_expected(tmp_path, sources, options, message):
    (tmp_path / "empty").mkdir()
    small_spair(tmp_path / "spair"), small_pfpascal(tmp_path / "pascal")
    with pytest.raises(UserError, match=message):
        load_dataset([tmp_path / name for name in sources], **options)


def test_every_image_is_paired_with_itself_under_every_warp(png):
    data = synthetic_warps(png)
    pairs = list(data.pairs())
    assert data.count == len(pairs) == 2 * len(WARPS)
    assert len({pair.id for pair in pairs}) == len(pairs)
    assert [pair.category for pair in pairs] == [*WARPS, *WARPS]
    assert (pairs[0].source.warp, pairs[0].target.warp) == ("shift", "")
    assert np.allclose(pairs[0].target_points, pairs[0].source_points - 1 / 8)


def test_only_the_warped_image_changes_its_appearance(png):
    for appearance, transform in (("jitter", "jitter"), ("grey", "grey"), ("none", "")):
        data = synthetic_warps(png, appearance)
        assert {(pair.source.appearance, pair.target.appearance) for pair in data.pairs()} == {(transform, "")}
        assert data.details["appearance"] == appearance
    assert next(synthetic_warps(png).pairs()).key() != next(synthetic_warps(png, "none").pairs()).key()


def test_duplicate_images_are_ignored(png, tmp_path):
    link, folder = tmp_path / "link.png", tmp_path / "folder"
    link.symlink_to(png[0])
    folder.mkdir()
    data = synthetic_warps([png[0], png[0], folder / ".." / png[0].name, link])
    assert (data.count, data.details["images"]) == (len(WARPS), [str(png[0])])
    assert synthetic_warps([folder / ".." / png[0].name]).details == data.details
    assert synthetic_warps([link]).details["images"] == [str(link)]


def coordinates(images):
    """Features that determine the position in a ramp of colours."""
    return torch.cat([images[:, :2], 1 - images[:, :2]], 1)


def test_features_that_encode_the_source_position_match_all_warps(tmp_path):
    y, x = torch.meshgrid(torch.linspace(0, 1, 96), torch.linspace(0, 1, 128), indexing="ij")
    path = tmp_path / "ramp.png"
    path.write_bytes(encode_png(torch.stack([y, x, torch.zeros_like(y)])[None]))
    request = FeatureRequest("map")
    extract = FeatureExtractor(toy_features(coordinates), 112, torch.device("cpu"))
    for pair in synthetic_warps([path], "none").pairs():
        errors, outside = pair_errors(pair, extract(pair.source), extract(pair.target), request)
        assert len(errors) + outside == KEYPOINTS_PER_SIDE**2
        assert np.median(errors) < 0.03, pair.category
