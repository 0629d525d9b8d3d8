import pytest

from vitsplice.config import BackboneConfig
from vitsplice.plugins import catalogue
from vitsplice.tools import doctor


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    monkeypatch.setattr("vitsplice.backbones.hub.hub_answers", lambda: ("the hub", "is not asked"))


def named(findings, name):
    return next(finding for finding in findings if finding.name == name)


def use(monkeypatch, *names):
    """Make the default preset want these backbones."""

    class Settings:
        backbone = BackboneConfig(name=names[0], fallback=names[1:])

    monkeypatch.setattr("vitsplice.presets.settings.settings_for", lambda *_: Settings)


def test_all_that_a_report_needs_is_there(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    use(monkeypatch, "tiny-vit")
    found = doctor.diagnose(catalogue())
    assert {finding.section for finding in found} == {"versions", "machine", "folders", "plugins", "weights"}
    assert named(found, "torch").value.startswith("2.")
    assert named(found, "hub").value == "the hub is not asked"
    assert str(tmp_path) in named(found, "outputs").value
    assert "backbones" in named(found, "tiny").value
    assert not list(tmp_path.iterdir())


def test_a_main_job_that_cannot_run_is_fatal_and_says_what_to_do(monkeypatch):
    use(monkeypatch, "dino-vitb8", "no-such-backbone")
    found = named(doctor.diagnose(catalogue()), "preset quick")
    assert found.fatal
    assert "dino-vitb8, no-such-backbone" in found.value
    assert "vitsplice-offline" in found.advice


def test_weights_at_hand_that_do_not_load_are_fatal(monkeypatch):
    use(monkeypatch, "tiny-gone")
    monkeypatch.setattr(doctor, "_location", lambda find_weights: "here")
    found = named(doctor.diagnose(catalogue()), "preset quick")
    assert found.fatal or "would be downloaded" in found.value


def test_a_folder_that_cannot_be_used_is_noted(tmp_path):
    (tmp_path / "file").write_text("")
    assert doctor._folder("outputs", tmp_path / "new" / "below", "x").advice == ""
    assert "cannot be written" in doctor._folder("outputs", tmp_path / "file", "x").advice


@pytest.mark.weights
def test_the_main_job_can_run_here():
    found = doctor.diagnose(catalogue())
    assert not [finding for finding in found if finding.fatal]
    assert "cache folder" in named(found, "dinov2-vits14-offline").value or "wheel" in str(found)
