import json


def test_new_writes_a_folder_and_says_what_is_next(vitsplice, tmp_path):
    done = vitsplice("plugin", "new", "mine", "--kind", "loss")
    assert done.returncode == 0
    assert done.stdout.strip() == "vitsplice-mine"
    assert "pip install" in done.stderr
    assert (tmp_path / "vitsplice-mine" / "pyproject.toml").is_file()
    again = vitsplice("plugin", "new", "mine", "--kind", "loss")
    assert again.returncode == 2
    assert "already exists" in again.stderr


def test_check_gives_a_verdict_in_words(vitsplice):
    done = vitsplice("plugin", "check", "structure")
    assert done.returncode == 0, done.stdout
    assert "losses 'structure'" in done.stdout
    assert "ok       The value is one finite float32 number." in done.stdout
    assert "every contract is kept" in done.stdout


def test_check_names_what_is_broken(vitsplice):
    done = vitsplice("plugin", "check", "tiny-gone")
    assert done.returncode == 1
    assert done.stdout.count("BROKEN") == 1
    assert "It can be built." in done.stdout
    assert "the weights of 'tiny-gone' are nowhere (the other 2" in done.stdout
    assert done.stdout.endswith("1 broken\n")


def test_check_as_json(vitsplice):
    found = json.loads(vitsplice("plugin", "check", "paper", "--json").stdout)
    assert {verdict["outcome"] for verdict in found["presets 'paper'"]} == {"kept"}


def test_check_of_what_is_not_there(vitsplice):
    done = vitsplice("plugin", "check", "dino-vitb9")
    assert done.returncode == 2
    assert "dino-vitb8" in done.stderr


def test_check_of_a_plugin_that_is_not_installed_says_to_install_it(vitsplice):
    done = vitsplice("plugin", "check", "my-preset")
    assert done.returncode == 2
    first, second = done.stderr.splitlines()[:2]
    assert first == "error: no part and no plugin has the name 'my-preset'"
    assert "pip install -e FOLDER" in second
