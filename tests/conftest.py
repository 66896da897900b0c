"""Fixtures shared by several test modules."""

import shutil

import numpy as np
import pytest
import torch
from helpers.tiny_nnunet import make_dataset

from clisc_nnunet.io.volume import Geometry, Volume
from clisc_nnunet.models import architecture_detection
from clisc_nnunet.models import sam as sam_models
from clisc_nnunet.models.registry import ENTRIES
from clisc_nnunet.models.sam import TinySamConfig, build_tiny_sam


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def random_sam():
    """Tiny SAM with random weights."""
    torch.manual_seed(0)
    return build_tiny_sam(TinySamConfig()).eval().requires_grad_(False)


@pytest.fixture
def sam_file(random_sam, tmp_path, monkeypatch):
    """Checkpoint of a tiny SAM that is recognised as a ViT-B, with the normalisation of one."""

    def vit_b():
        sam, entry = build_tiny_sam(TinySamConfig()), ENTRIES["sam_vit_b"]
        sam.pixel_mean = torch.Tensor(entry.mean).view(-1, 1, 1)
        sam.pixel_std = torch.Tensor(entry.std).view(-1, 1, 1)
        return sam

    monkeypatch.setitem(architecture_detection._SAM, TinySamConfig().width, "vit_b")
    monkeypatch.setitem(sam_models.sam_model_registry, "vit_b", vit_b)
    path = tmp_path / "weights" / "mine.pth"
    path.parent.mkdir()
    torch.save(random_sam.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def prepared_heads(tmp_path_factory):
    """nnU-Net's folders with the dataset of `tiny_nnunet`; read-only, see `nnunet_root`."""
    folder = tmp_path_factory.mktemp("nnunet")
    make_dataset(folder)
    return folder


@pytest.fixture
def nnunet_root(prepared_heads, tmp_path, monkeypatch):
    """Copy of nnU-Net's folders, without any trained model."""
    from nnunetv2.training.logging.nnunet_logger import MetaLogger

    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        shutil.copytree(prepared_heads / name, tmp_path / name)
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setenv("nnUNet_def_n_proc", "1")
    # Takes a second per epoch, ten times as long as the training here.
    monkeypatch.setattr(MetaLogger, "plot_progress_png", lambda self, folder: None)
    return tmp_path


@pytest.fixture
def head():
    """Axial scan, 2 mm: an ellipsoid brain of 100 with a bright blob to the left, back and top."""
    shape = (60, 80, 70)
    plane, row, column = np.indices(shape)
    brain = ((plane - 30) / 26) ** 2 + ((row - 40) / 36) ** 2 + ((column - 35) / 30) ** 2 < 1
    blob = (plane - 40) ** 2 + (row - 52) ** 2 + (column - 48) ** 2 < 8**2
    array = np.where(brain, 100.0, 0.0) + np.where(blob & brain, 80.0, 0.0)
    array = array + np.where(brain, np.random.default_rng(0).normal(0, 5, shape), 0.0)
    geometry = Geometry((70, 80, 60), (2.0, 2.0, 2.0), (-70.0, -80.0, -60.0), tuple(np.eye(3).flat))
    return Volume(array.astype(np.float32), geometry), blob & brain
