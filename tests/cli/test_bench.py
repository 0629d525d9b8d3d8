import json

import pytest


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.weights
def test_json_has_times_relative_to_a_plain_loop_and_peak_memory(vitsplice, monkeypatch):
    pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")
    monkeypatch.setattr("vitsplice.tools.bench.SIZE", 112)
    monkeypatch.setattr("vitsplice.tools.bench.WARM_UP", 1)
    done = vitsplice("bench", "--steps", 1, "--json", "--quick-steps", 1)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    plain, *others = report["steps"]
    assert plain["of_plain"]["median"] == 1.0
    assert all(0 < loop["of_plain"]["median"] < 2 for loop in others)  # of a machine that may be busy
    assert 0 < report["backbone_share_of_matmul_rate"]["float32"] < 1.5
    assert report["peak_memory_mib"] > 100
