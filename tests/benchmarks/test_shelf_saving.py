"""What a shelf saves, measured with a small SAM."""

import pytest
from segment_anything import sam_model_registry

from benchmarks.shelf_saving import main


@pytest.fixture
def small(random_sam, monkeypatch):
    monkeypatch.setitem(sam_model_registry, "vit_b", lambda: random_sam)


def test_a_second_run_encodes_nothing(small, tmp_path, capsys):
    assert main(["-o", str(tmp_path), "-n", "3"]) == 0
    first, second, size = capsys.readouterr().out.splitlines()
    assert first.startswith("first run: 3 slices encoded")
    assert second.startswith("second run: 0 slices encoded")
    assert size == "0.1 MB a slice"
    assert len(list(tmp_path.iterdir())) == 3
