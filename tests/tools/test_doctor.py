from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import pytest

from vitsplice.config import BackboneConfig
from vitsplice.contracts import BackboneSpec
from vitsplice.errors import PluginConflict, WeightsRejected, WeightsUnavailable
from vitsplice.plugins import catalogue
from vitsplice.tools import doctor


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    monkeypatch.setattr("vitsplice.backbones.hub.probe_hub", lambda: ("the hub", "is not asked"))


def named(findings, name):
    return next(finding for finding in findings if finding.name == name)


def use(monkeypatch, *names, **others):
    """Make the default preset use the first of ``names``, with the rest as its fallbacks, and ``others`` by key."""

    class Settings:
        backbones: ClassVar = {
            "first": BackboneConfig(name=names[0], fallback=names[1:]),
            **{key: BackboneConfig(name=name) for key, name in others.items()},
        }

    monkeypatch.setattr("vitsplice.presets.settings.settings_for", lambda *_: Settings)


def test_report_covers_versions_machine_folders_plugins_and_weights(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    use(monkeypatch, "tiny-vit")
    findings = doctor.diagnose(catalogue())
    assert {finding.section for finding in findings} == {"versions", "machine", "folders", "plugins", "weights"}
    assert named(findings, "torch").value.startswith("2.")
    assert named(findings, "hub").value == "the hub is not asked"
    assert str(tmp_path) in named(findings, "outputs").value
    assert "backbones" in named(findings, "tiny").value
    assert not list(tmp_path.iterdir())


def test_default_preset_without_an_available_backbone_is_fatal_with_advice(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    use(monkeypatch, "dino-vitb8", "no-such-backbone")
    finding = named(doctor.diagnose(catalogue()), "preset quick, backbone")
    assert finding.fatal
    assert finding.value == "no weights of dino-vitb8 or no-such-backbone are on this machine, and the hub is not asked"
    assert "vitsplice-offline" in finding.advice
    assert finding.advice.endswith("setting backbone.weights")


def test_every_backbone_of_the_default_preset_is_checked(monkeypatch):
    use(monkeypatch, "tiny-vit", cnn="no-such-backbone")
    findings = doctor.diagnose(catalogue())
    assert not named(findings, "preset quick, backbones.first").fatal
    missing = named(findings, "preset quick, backbones.cnn")
    assert missing.fatal
    assert "no-such-backbone" in missing.value
    assert missing.advice.endswith("setting backbones.cnn.weights")


def unloadable(name, location, error):
    """Return the spec of a backbone that cannot be loaded; its weights are at ``location``, "" if nowhere."""

    def build(weights):
        raise error

    return BackboneSpec(name, build, "", "", "", find_weights=lambda: location)


def diagnose_backbone(*specs, no_hub=""):
    known = SimpleNamespace(
        backbones={"tiny-vit": with_local_weights("tiny-vit")} | {spec.name: spec for spec in specs}
    )
    config = BackboneConfig(name="first", fallback=("tiny-vit",))
    return doctor._backbone("backbone", config, known, no_hub)


def with_local_weights(name):
    return replace(catalogue().backbones[name], find_weights=lambda: "here")


def test_installed_weights_that_do_not_load_are_fatal():
    finding = diagnose_backbone(unloadable("first", "here", WeightsRejected("corrupt")))
    assert (finding.fatal, finding.value) == (True, "corrupt")


DOWNLOAD = "its weights are not on this machine; a run downloads them if that is possible"


@pytest.mark.parametrize(("no_hub", "value"), [("", f"first: {DOWNLOAD}"), ("is off", "tiny-vit loads")])
def test_diagnosis_downloads_nothing_where_only_a_fallback_is_installed(no_hub, value):
    finding = diagnose_backbone(unloadable("first", "", AssertionError("downloads")), no_hub=no_hub)
    assert (finding.fatal, finding.value) == (False, value)


def test_diagnosis_downloads_no_fallback_of_a_backbone_that_does_not_load():
    first = unloadable("first", "here", WeightsUnavailable("no package"))
    finding = diagnose_backbone(first, unloadable("tiny-vit", "", AssertionError("downloads")))
    assert (finding.fatal, finding.value) == (False, f"tiny-vit: {DOWNLOAD}")


@pytest.mark.parametrize("fallback", ["untrained-test_vit", "tiny-vit"])
def test_unknown_location_of_weights_is_reported_as_unknown(fallback):
    config = BackboneConfig(name="no-such-backbone", fallback=(fallback,))
    finding = doctor._backbone("backbone", config, catalogue(), "")
    assert not finding.fatal
    assert finding.value == f"{fallback}: it is not known whether its weights are on this machine"


def test_backbone_that_no_plugin_provides_is_fatal():
    finding = doctor._backbone("backbone", BackboneConfig(name="no-such-backbone"), catalogue(), "")
    assert (finding.fatal, finding.value) == (True, "no plugin provides no-such-backbone")


def test_missing_package_is_reported_before_any_check_that_imports_it(monkeypatch):
    monkeypatch.setattr(doctor, "versions", lambda: {"vitsplice": "not installed", "torch": "not installed"})
    monkeypatch.setattr(doctor, "_machine", lambda: pytest.fail("imports torch"))
    checkout, torch = doctor.diagnose(catalogue())
    assert (checkout.fatal, torch.fatal, torch.advice) == (False, True, "pip install torch")


def diagnose_with_a_conflict(monkeypatch, *names):
    """Diagnose the default preset with backbones of these names; two plugins provide the backbone "twice"."""
    use(monkeypatch, *names)
    known = replace(catalogue().backbones, conflicts={"twice": ("one", "other")})
    (finding,) = doctor._default_preset(replace(catalogue(), backbones=known), "is off")
    return finding


def test_conflict_of_plugins_over_the_backbone_of_the_default_preset_is_fatal(monkeypatch):
    finding = diagnose_with_a_conflict(monkeypatch, "twice", "tiny-vit")
    assert (finding.fatal, finding.value) == (True, "cannot be loaded")
    assert "one and other each provide the backbone 'twice'" in finding.advice


def test_conflict_of_plugins_over_a_fallback_that_is_not_needed_is_not_fatal(monkeypatch):
    assert not diagnose_with_a_conflict(monkeypatch, "tiny-vit", "twice").fatal


def test_conflict_of_plugins_over_the_default_preset_is_fatal(monkeypatch):
    def settings_for():
        raise PluginConflict("one and other each provide the preset 'quick'")

    monkeypatch.setattr("vitsplice.presets.settings.settings_for", settings_for)
    (finding,) = doctor._default_preset(catalogue(), "is off")
    assert (finding.fatal, finding.name, finding.value) == (True, "preset quick", "cannot be used")
    assert finding.advice == "one and other each provide the preset 'quick'"


def test_unwritable_folder_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    assert doctor._folder("outputs", tmp_path / "new" / "below", "x").advice == ""
    assert "cannot be written" in doctor._folder("outputs", tmp_path / "file", "x").advice


def test_unknown_home_folder_is_reported_with_advice(monkeypatch):
    monkeypatch.setenv("VITSPLICE_CACHE", "~no-such-user/x")
    finding = named(list(doctor._folders()), "cache")
    assert (finding.value, finding.fatal) == ("unknown", False)
    assert finding.advice.endswith("set VITSPLICE_CACHE to the absolute path of a folder")


@pytest.mark.weights
def test_weights_that_need_an_unknown_home_folder_are_fatal_with_advice(monkeypatch):
    monkeypatch.setenv("VITSPLICE_CACHE", "~no-such-user/x")
    fatal = [finding for finding in doctor.diagnose(catalogue()) if finding.fatal]
    assert fatal
    assert all("set VITSPLICE_CACHE to" in finding.advice for finding in fatal)


def test_removed_current_folder_is_fatal_with_advice(monkeypatch, tmp_path):
    (tmp_path / "removed").mkdir()
    monkeypatch.chdir(tmp_path / "removed")
    (tmp_path / "removed").rmdir()
    finding = named(doctor.diagnose(catalogue()), "outputs")
    assert (finding.fatal, finding.value) == (True, "the current folder was removed")
    assert "change to a folder that exists" in finding.advice


@pytest.mark.weights
def test_diagnosis_of_this_machine_has_no_fatal_findings():
    findings = doctor.diagnose(catalogue())
    assert not [finding for finding in findings if finding.fatal]
    location = named(findings, "dinov2-vits14-offline").value
    assert location == "in the cache folder" or location.startswith("in the wheel ")
