import json

import pytest


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.weights
def test_bench_tells_ratios(vitsplice, monkeypatch):
    pytest.importorskip("vitsplice_offline", reason="the plugin vitsplice-offline is not installed")
    monkeypatch.setattr("vitsplice.tools.bench.SIZE", 112)
    monkeypatch.setattr("vitsplice.tools.bench.WARM_UP", 1)
    done = vitsplice("bench", "--steps", 1, "--json", "--quick-steps", 1)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    plain, *others = found["steps"]
    assert plain["of_plain"]["median"] == 1.0
    assert all(0 < loop["of_plain"]["median"] < 2 for loop in others)  # of a machine that may be busy
    assert 0 < found["backbone_share_of_matmul_rate"]["float32"] < 1.5
    assert found["peak_memory_mib"] > 100
