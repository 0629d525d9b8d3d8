import pytest
from tiny_models import write_tiny_model


@pytest.mark.slow
def test_writes_a_sheet_and_the_structure_image_in_the_appearance_of_each_mode(vitsplice, png, tmp_path):
    write_tiny_model(tmp_path / "model")
    done = vitsplice("modes", tmp_path, "-k", "2", "-o", "out", "--model", "model", "--structure", png[0])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "out/modes.png"
    assert "2 modes of 2 images" in done.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"modes.png", "modes.json", "features.jsonl", "mode-1.png", "mode-2.png"}
    again = vitsplice("modes", tmp_path, "-k", "2", "-o", "out", "--backbone", "tiny-vit")
    assert again.returncode == 2
    assert "already holds appearance modes" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "model"), "give --model and --structure together"),
        (("-k", "3", "--backbone", "tiny-vit"), "3 modes need at least 3 images"),
        (("missing",), "missing does not exist"),
        (("-o", "."), "output folder . is a folder of the images"),
    ],
)
def test_invalid_arguments_exit_with_2_and_a_reason(vitsplice, png, tmp_path, arguments, message):
    done = vitsplice("modes", tmp_path, *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_missing_structure_image_is_refused_before_features_are_computed(vitsplice, png, tmp_path):
    write_tiny_model(tmp_path / "model")
    done = vitsplice("modes", tmp_path, "-k", "2", "-o", "out", "--model", "model", "--structure", "none.png")
    assert (done.returncode, "'none.png' does not exist" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "out").exists()


def test_images_that_would_be_replaced_are_refused(vitsplice, png, tmp_path):
    (tmp_path / "out").mkdir()
    image = png[0].rename(tmp_path / "out" / "mode-1.png")
    for arguments in ((image, "--structure", png[1]), (png[1], "--structure", image)):
        done = vitsplice("modes", *arguments, "--model", "model", "-k", "1", "-o", "out", "--force")
        assert done.returncode == 2
        assert f"mode-1.png is an output file in {tmp_path / 'out'} and would be replaced" in done.stderr
