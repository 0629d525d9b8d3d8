import yaml


def test_list_and_show(vitsplice):
    listed = vitsplice("presets").stdout
    assert "paper" in listed
    assert "official" in listed
    shown = vitsplice("presets", "show", "paper").stdout
    assert yaml.safe_load(shown)["steps"] == 2000


def test_what_show_prints_is_accepted_as_a_preset(vitsplice, png, tmp_path):
    (tmp_path / "mine.yaml").write_text(vitsplice("presets", "show", "tiny").stdout)
    done = vitsplice("run", "--preset", "mine.yaml", *png, "-o", "out", "--steps", 1)
    assert done.returncode == 0, done.stderr
