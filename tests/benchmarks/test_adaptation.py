"""SAM's decoder learning on its own surest labels."""

import numpy as np
import pytest
import torch
from helpers.finished import SCAN, SHAPE, FinishedCase, block, on_scan, write_finished

from benchmarks import adaptation
from benchmarks.adaptation import Label, adapt, main, surest
from clisc_nnunet.bundled.phantom_set import TrainingVolume
from clisc_nnunet.bundled.training_loop import LoopSettings
from clisc_nnunet.io.volume import write_volume
from clisc_nnunet.models.sam import load_sam
from clisc_nnunet.stages.slice_classes import NORMAL, TUMOUR

TRUTH = block(slice(2, 5), slice(2, 10), slice(3, 13))
VOTED = np.array([NORMAL, NORMAL, TUMOUR, TUMOUR, TUMOUR, NORMAL, NORMAL, NORMAL])


@pytest.fixture
def volume():
    """A bright block in a grey head."""
    pixels = np.zeros((6, 48, 48), np.uint8)
    pixels[:, 4:44, 4:44] = 90
    tumour = np.zeros(pixels.shape, bool)
    tumour[1:5, 12:28, 14:30] = True
    pixels[tumour] = 210
    return TrainingVolume(pixels, tumour)


def test_learns_from_the_labels_that_sam_rates_highest():
    full, none = np.ones(SHAPE, bool), np.zeros(SHAPE, bool)
    labels = [Label(full, 0.6), Label(none, 0.95), Label(full, 0.9), Label(full, 0.8)]
    assert surest(labels, 0.5) == [2, 3]
    assert surest(labels, 0.01) == [2]
    assert surest([Label(none, 0.9)], 0.5) == []


def test_the_decoder_learns_and_the_encoder_stays(volume):
    model = load_sam("bundled", torch.device("cpu"))
    before = {key: value.clone() for key, value in model.sam.state_dict().items()}
    curve = adapt(model, [volume], LoopSettings(2, 1e-3, warm_up=1), seed=0)
    assert curve[-1]["step"] == 2
    changed = {key for key, value in model.sam.state_dict().items() if not value.equal(before[key])}
    assert changed
    assert all(key.startswith("mask_decoder.") for key in changed)
    assert not any(weight.requires_grad for weight in model.sam.parameters())


def test_prints_before_and_after(tmp_path, capsys, monkeypatch):
    case = FinishedCase(TRUTH, TRUTH, TRUTH, np.full(8, 0.5), VOTED)
    write_finished(tmp_path / "dataset", {"one": case, "two": case}, failed="broken")
    for name in ("one", "two"):
        path = tmp_path / "references" / f"{name}.nii.gz"
        write_volume(path, on_scan(TRUTH).astype(np.uint8), SCAN)
    drawn = iter([[Label(TRUTH, 0.7), Label(TRUTH, 0.9)], [Label(TRUTH, 0.7), Label(~TRUTH, 0.9)]])
    learnt = []
    monkeypatch.setattr(adaptation, "draw", lambda model, cases: next(drawn))
    monkeypatch.setattr(
        adaptation, "adapt", lambda model, volumes, loop, seed: learnt.extend(volumes)
    )
    call = ["-d", str(tmp_path / "dataset"), "-r", str(tmp_path / "references")]
    assert main(call) == 0
    out = capsys.readouterr().out
    assert len(learnt) == 1  # half of the cases
    assert "| as shipped | 1.000 | 1.000 |" in out
    assert "| adapted | 0.500 | 0.000 |" in out


def test_a_folder_that_is_no_dataset_is_told(tmp_path, capsys):
    assert main(["-d", str(tmp_path), "-r", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
