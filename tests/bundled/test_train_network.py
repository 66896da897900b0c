"""The command that makes the bundled network, with few phantoms and few iterations."""

import json

import pytest

from clisc_nnunet.bundled import phantom_trainer, train_network
from clisc_nnunet.bundled.train_network import PhantomShare, Phase, main
from clisc_nnunet.models.phantom_network import CONFIGURATION, load_phantom_network, misfit

pytestmark = pytest.mark.slow


class Quick(phantom_trainer.nnUNetTrainerPhantoms):
    """Two iterations an epoch."""

    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_iterations_per_epoch = self.num_val_iterations_per_epoch = 2


def test_from_phantoms_to_a_model_with_its_card(tmp_path, monkeypatch):
    usual, aged = PhantomShare("usual", 3, 0, 0.0), PhantomShare("aged", 2, 10, 1.0)
    phases = (Phase((usual,), 1, 1e-2), Phase((usual, aged), 1, 1e-3))
    held_out = (PhantomShare("usual", 1, 900_000, 0.0), PhantomShare("aged", 1, 970_000, 1.0))
    monkeypatch.setattr(train_network, "PHASES", phases)
    monkeypatch.setattr(train_network, "HELD_OUT", held_out)
    monkeypatch.setattr(phantom_trainer, "VALIDATION_CASES", 1)
    monkeypatch.setattr(phantom_trainer, "nnUNetTrainerPhantoms", Quick)
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", "")
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")
    call = ["-o", str(tmp_path), "-np", "1"]
    assert main(call) == 0
    card = json.loads((tmp_path / "network.json").read_text())
    assert card["figures_on_phantoms"].keys() == {"usual", "aged"}
    assert [phase["rate"] for phase in card["data"]["phases"]] == [1e-2, 1e-3]
    assert [len(phase["phantoms"]) for phase in card["data"]["phases"]] == [1, 2]
    assert [point["epoch"] for point in card["curve"]] == [0, 1]
    made = card["architecture"]["plans"]["configurations"][CONFIGURATION]
    assert misfit(made, 1, 2, load_phantom_network()) == ""
    assert (tmp_path / "network.safetensors").stat().st_size < 4e6
    assert main(call) == 0  # finished: measured again, not trained again
