import json

SMALL = ("--backbone", "tiny-vit", "--size", "32", "--steps", "3", "--set", "resize.size=32")
SHALLOW = ("--set", "generator.options={channels: [4, 8], kernels: [5, 3]}")


def test_a_sheet_of_two_facets_at_two_layers(vitsplice, png, tmp_path):
    wanted = ("--facet", "cls", "--facet", "key", "--layer", "-1", "--layer", "-2")
    done = vitsplice("invert", png[0], "--prior", "network", *wanted, *SMALL, *SHALLOW, "-o", "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "out/inversions.png"
    folders = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert folders == {"cls_layer_2", "cls_layer_1", "key_layer_2", "key_layer_1"}
    facts = json.loads((tmp_path / "out" / "key_layer_1" / "run.json").read_text())
    assert facts["finished"]
    assert "key at layer 1 (-2), 4 of 4" in done.stderr
    assert done.stderr.count("\nimage ") == 4
    assert "structure image " not in done.stderr.replace("unchanged: the structure image", "")
    assert "appearance image" not in done.stderr


def test_it_goes_on_where_it_was(vitsplice, png, tmp_path):
    assert vitsplice("invert", png[0], "--prior", "pixels", *SMALL, "-o", "out").returncode == 0
    sheet = (tmp_path / "out" / "inversions.png").read_bytes()
    kept = (tmp_path / "out" / "cls_layer_2" / "output.png").stat().st_mtime_ns
    for path in (tmp_path / "out" / "key_layer_2").rglob("*.*"):
        path.unlink()
    (tmp_path / "out" / "inversions.png").unlink()
    done = vitsplice("invert", "--resume", "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "inversions.png").read_bytes() == sheet
    assert (tmp_path / "out" / "cls_layer_2" / "output.png").stat().st_mtime_ns == kept


def test_a_folder_that_holds_some_is_left_alone(vitsplice, png):
    same = ("invert", png[0], "--prior", "pixels", "--facet", "key", *SMALL, "-o", "out")
    assert vitsplice(*same).returncode == 0
    again = vitsplice(*same)
    assert (again.returncode, "done already" in again.stderr) == (0, True)
    other = vitsplice(*same, "--seed", "5")
    assert (other.returncode, "holds another inversion: it differs in of" in other.stderr) == (2, True)
    assert vitsplice(*same, "--seed", "5", "--force").returncode == 0


def test_the_network_may_be_named_as_a_setting(vitsplice, png, tmp_path):
    done = vitsplice("invert", png[0], "--set", "backbone={name: tiny-cnn}", "--prior", "pixels", *SMALL[2:])
    assert done.returncode == 0, done.stderr
    runs = (tmp_path / "vitsplice-inversions").glob("*/run.json")
    assert {json.loads(run.read_text())["backbone"]["name"] for run in runs} == {"tiny-cnn"}


def test_mistakes_are_told(vitsplice, png, tmp_path):
    (tmp_path / "broken.png").write_bytes(png[0].read_bytes()[:200])
    for arguments, told in (
        ((png[0], "--facet", "map"), "no facet 'map'"),
        ((png[0], "--layer", "7"), "no layer 7"),
        ((png[0], "--preset", "quick"), "no term 'inversion'"),
        ((png[0], "--preset", "invert", "--prior", "pixels"), "not both"),
        (("nowhere.png",), "nowhere.png"),
        (("broken.png",), "broken.png"),
        (("--resume", "nowhere"), "no inversions that can go on"),
    ):
        done = vitsplice("invert", *arguments, *(() if "--resume" in arguments else SMALL))
        assert done.returncode == 2, arguments
        assert told in done.stderr
        assert "Traceback" not in done.stderr
    other = vitsplice("invert", "--resume", "nowhere", "--steps", "4")
    assert "leave out --steps" in other.stderr


def test_a_plan_made_to_write_elsewhere_does_not(vitsplice, png, tmp_path, victim):
    made = ("invert", png[0], "--facet", "key", *SMALL, "--prior", "pixels", "-o", "evil")
    assert vitsplice(*made).returncode == 0
    known = json.loads((tmp_path / "evil" / "inversions.json").read_text())
    away = "/".join([".."] * 20) + str(victim / "run")
    for feature in (["key", f"/{away}"], [away, -1], ["key", -7]):
        known["of"][0]["feature"] = feature
        (tmp_path / "evil" / "inversions.json").write_text(json.dumps(known))
        done = vitsplice("invert", "--resume", "evil")
        assert (done.returncode, done.stdout) == (2, ""), feature
        assert "Traceback" not in done.stderr
    assert vitsplice(*made, "--force").returncode == 0
