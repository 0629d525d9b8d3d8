import json

from PIL import Image


def test_a_sheet_of_all_layers_of_several_images(vitsplice, png, tmp_path):
    done = vitsplice("pca", *png, "-o", "out", "--backbone", "tiny-vit", "--size", "64")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "out/pca.png"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"pca.png", "pca.json"} | {
        f"{number}-{stem}_layer_{layer}.png"
        for number, stem in ((1, "structure"), (2, "appearance"))
        for layer in (0, 1, 2)
    }
    with Image.open(tmp_path / "out" / "1-structure_layer_2.png") as shown:
        assert shown.size == (48, 40)
    numbers = json.loads((tmp_path / "out" / "pca.json").read_text())
    assert numbers["facet"] == "key"
    assert all(0 < sum(parts) <= 1.0001 for parts in numbers["explained"].values())


def test_the_same_bytes_twice_and_another_facet_gives_others(vitsplice, png, tmp_path):
    for name, facet in (("a", "key"), ("b", "key"), ("c", "token")):
        vitsplice(
            "pca", png[0], "-o", name, "--backbone", "tiny-vit", "--size", "64", "--layer", "-1", "--facet", facet
        )
    one, two, other = ((tmp_path / name / "pca.png").read_bytes() for name in "abc")
    assert one == two != other


def test_a_cnn_has_maps(vitsplice, png):
    assert vitsplice("pca", png[0], "--backbone", "tiny-cnn", "--upsample", "blocks", "--size", "64").returncode == 0


def test_mistakes_are_told(vitsplice, png):
    for arguments, told in (
        (("--facet", "cls"), "has no places to show; of tiny-vit these have: key, query, value, token"),
        (("--facet", "cls", "--backbone", "tiny-cnn"), "no facet 'cls'; it has"),
        (("--facet", "map"), "no facet 'map'"),
        (("--layer", "9"), "no layer 9"),
        (("-o", "structure.png"), "is a file"),
    ):
        done = vitsplice("pca", "structure.png", "--backbone", "tiny-vit", "--size", "64", *arguments)
        assert done.returncode == 2
        assert told in done.stderr
    vitsplice("pca", png[0], "--backbone", "tiny-vit", "--size", "64", "--layer", "-1", "-o", "x")
    again = vitsplice("pca", png[0], "--backbone", "tiny-vit", "--size", "64", "--layer", "-1", "-o", "x")
    assert "already holds a PCA" in again.stderr
