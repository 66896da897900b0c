"""Selection of the CAM's layer and threshold: trials on a case, and the file of the choice."""

import numpy as np
import torch
from helpers.cases import make_config

from clisc_nnunet.models.slice_classifier import SliceClassifier
from clisc_nnunet.pipeline import cam_choice
from clisc_nnunet.pipeline.cam_choice import CamGrid, read_choice, try_cams, write_choice
from clisc_nnunet.pipeline.config import CaseInput
from clisc_nnunet.pipeline.model_steps import CamChoice, TrainedClassifier
from clisc_nnunet.pipeline.result_cache import ResultCache
from clisc_nnunet.pipeline.serialization import pack_stack
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.stages.cam_selection import Trial, gather
from clisc_nnunet.stages.slice_classes import TUMOUR
from clisc_nnunet.stages.slice_extraction import make_slices


def test_every_layer_and_threshold_is_tried(head, tmp_path, monkeypatch):
    config = make_config(ResultCache(tmp_path / "stages"))
    torch.manual_seed(0)
    classifier = SliceClassifier(config.models.backbone).eval()
    monkeypatch.setattr(cam_choice, "load_trained", lambda *_: classifier)
    stack = make_slices(head[0], SliceSettings(plane_mm=2.0))
    blob = stack.pixels > 200
    planes = np.flatnonzero(blob.any(axis=(1, 2)))[::4]
    labels = {"planes": planes, "voted": np.full(len(planes), TUMOUR)}
    case, raw = CaseInput("case", "scan.nii.gz"), TrainedClassifier("raw", "signature")
    grid = CamGrid(("layer1", "layer2"), (0.2, 0.4))
    found = try_cams(config, case, pack_stack(stack), labels, classifier=raw, grid=grid)
    assert found["predicted_iou"].shape == found["agreement"].shape == (2, 2, len(planes))
    trials = gather(grid.layers, grid.thresholds, [(found["predicted_iou"], found["agreement"])])
    assert [(t.layer, t.threshold) for t in trials] == [
        ("layer1", 0.2), ("layer1", 0.4), ("layer2", 0.2), ("layer2", 0.4),
    ]  # fmt: skip


def test_a_selection_is_read_back_with_its_signature(tmp_path):
    path = tmp_path / "choice.json"
    assert read_choice(path, "signed") is None
    write_choice(path, "signed", Trial("layer2", 0.3, predicted_iou=0.9, agreement=0.8))
    assert read_choice(path, "signed") == CamChoice("layer2", 0.3)
    assert read_choice(path, "other") is None
    path.write_text("[")
    assert read_choice(path, "signed") is None
