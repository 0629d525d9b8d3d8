import yaml


def test_presets_are_listed_and_printed(vitsplice):
    printed = vitsplice("presets").stdout
    assert "paper" in printed
    assert "official" in printed
    assert yaml.safe_load(vitsplice("presets", "show", "paper").stdout)["steps"] == 2000


def test_printed_preset_is_accepted_by_run(vitsplice, png, tmp_path):
    (tmp_path / "mine.yaml").write_text(vitsplice("presets", "show", "tiny").stdout)
    done = vitsplice("run", "--preset", "mine.yaml", *png, "-o", "out", "--steps", 1)
    assert done.returncode == 0, done.stderr
