"""A round shared by two processes on the CPU, which nnUNetv2_train supports on GPUs only."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from helpers.tiny_nnunet import CASES, CONFIGURATION, NAME, PLANS, make_dataset

pytestmark = pytest.mark.slow


def _train(rank: int, port: int, root: str) -> None:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ[name] = str(Path(root) / name)
    os.environ.update(
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        nnUNet_n_proc_DA="0",
        GLOO_SOCKET_IFNAME="lo",
    )
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module

    from clisc_nnunet.trainers.nnUNetTrainerCLISC import nnUNetTrainerCLISC
    from clisc_nnunet.trainers.round_settings import RoundSettings

    # nnU-Net trains in several processes on GPUs only; these three lines allow the CPU.
    module.DDP = lambda network, device_ids: torch.nn.parallel.DistributedDataParallel(network)

    class Trainer(nnUNetTrainerCLISC):
        clisc_settings = RoundSettings(restart=True)

        def __init__(self, plans, configuration, fold, dataset_json, device):
            super().__init__(plans, configuration, fold, dataset_json, device)
            self.device, self.grad_scaler = torch.device("cpu"), None

    folder = Path(root) / "nnUNet_preprocessed" / NAME
    plans = json.loads((folder / f"{PLANS}.json").read_text()) | {"continue_training": False}
    content = json.loads((folder / "dataset.json").read_text())
    trainer = Trainer(plans, CONFIGURATION, "all", content, torch.device("cpu"))
    trainer.num_epochs, trainer.num_iterations_per_epoch = 2, 2
    trainer.num_val_iterations_per_epoch = 1
    trainer.run_training()
    weights = [float(p.detach().double().sum()) for p in trainer.network.module.parameters()]
    outcome = {"weights": weights, "state": trainer.state}
    (Path(root) / f"rank{rank}.json").write_text(json.dumps(outcome))
    dist.destroy_process_group()


def test_two_processes_share_a_round_and_agree(tmp_path):
    make_dataset(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_train, args=(port, str(tmp_path)), nprocs=2)
    first, second = (json.loads((tmp_path / f"rank{k}.json").read_text()) for k in (0, 1))
    assert first["weights"] == second["weights"]
    assert first["state"]["rounds"] == second["state"]["rounds"]
    (report,) = (tmp_path / "nnUNet_results").rglob("round_01.json")
    facts = json.loads(report.read_text())
    assert sorted(facts["cases"]) == CASES
    assert set(first["state"]["rounds"][0]["kept"]) == {
        case for case, known in facts["cases"].items() if known["kept"]
    }
