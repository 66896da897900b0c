"""nnUNetTrainerCLISC: nnU-Net's trainer with S3F, for noisy labels.

Decides when a round is due and what to train on afterwards. The round itself is in `filter_round`,
the method in `clisc_nnunet.s3f.similarity` and `clisc_nnunet.s3f.case_selection`.
"""

from __future__ import annotations

import contextlib
import io
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from nnunetv2.paths import nnUNet_raw
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from clisc_nnunet.dataset_layout import DatasetLayout
from clisc_nnunet.errors import UserError
from clisc_nnunet.models.device import cpu_is_fast_at_bf16
from clisc_nnunet.models.weights import load_into
from clisc_nnunet.s3f.dataset_sam import DatasetSam, is_pseudo_label_sam, load_dataset_sam
from clisc_nnunet.trainers.case_lists import EXCLUDE_FILE, CaseLists, find_case_lists
from clisc_nnunet.trainers.checkpoints import (
    keep_copy,
    read_entry,
    save_with_entry,
)
from clisc_nnunet.trainers.distributed import ProcessGroup
from clisc_nnunet.trainers.filter_round import (
    Round,
    RoundFiles,
    TrainingCases,
    kept_cases,
    relabelled_cases,
    run_round,
    slices_note,
)
from clisc_nnunet.trainers.judges import check_judge, judging
from clisc_nnunet.trainers.network_start import (
    WARM_UP,
    NetworkStart,
    ShiftedPolyLR,
    as_float32,
    choose_start,
)
from clisc_nnunet.trainers.phantom_sampling import Phantoms
from clisc_nnunet.trainers.relabelled_dataset import (
    RELABELLED_DATASETS,
    TUMOUR_LABEL,
    check_overlays,
)
from clisc_nnunet.trainers.round_cases import CaseLoader
from clisc_nnunet.trainers.round_settings import (
    RoundSettings,
    as_plain,
    describe,
    resolve,
    round_epochs,
    settings_to_resume,
)

ENTRY = "clisc"
# Log lines in which nnU-Net reports scores against the labels.
_AGAINST_LABELS = ("Pseudo dice", "Yayy! New best EMA", "Mean Validation Dice")


class nnUNetTrainerCLISC(nnUNetTrainer):
    """nnU-Net's trainer with rounds of S3F before or between epochs.

    Subclasses may override `epochs` and `clisc_settings`. Settings in dataset.json and environment
    variables take precedence.
    """

    clisc_settings = RoundSettings()
    epochs = 1000
    # nnU-Net initialises these to None, without type annotations.
    initial_lr: float
    dataset_class: Any
    dataloader_train: Any
    dataloader_val: Any

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int | str,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = self.epochs
        with self._exit_on_user_error():
            self._check_configuration()
            self.rounds = resolve(self.clisc_settings, dataset_json, os.environ)
        self._stock_lr = self.initial_lr
        self._use_start()
        self.state: dict[str, Any] = {"run": uuid.uuid4().hex, "rounds": []}
        self.lists = CaseLists()
        self.phantoms = Phantoms()

    # Data

    def initialize(self) -> None:
        """Initialise the network's weights, and dataset classes that support rounds' labels."""
        super().initialize()
        if self.start.network is not None:
            load_into(self.network, self.start.network.state)
        self._bf16 = self.device.type == "cpu" and cpu_is_fast_at_bf16()
        if self._bf16:
            self.network.register_forward_hook(as_float32)
        self.dataset_class = RELABELLED_DATASETS[self.dataset_class]
        cases = self.dataset_class.get_identifiers(self.preprocessed_dataset_folder)
        raw, base = self._raw_clisc_folder, Path(self.preprocessed_dataset_folder_base)
        with self._exit_on_user_error():
            copies, converted = DatasetLayout(base).clisc, ENTRY in self.dataset_json
            folders = [copies] if raw is None else [copies, raw]
            self.phantoms = Phantoms.among(cases, self.dataset_json, folders)
            self.lists = find_case_lists(raw, copies, cases, converted, self.phantoms.names)
            if self.fold != "all":
                self.phantoms.prepare_splits(base, cases)

    def _use_start(self) -> None:
        """Choose the weights to start from; fine-tuning has a learning rate of its own."""
        self.start: NetworkStart = choose_start(
            self.rounds.start,
            self.configuration_manager.configuration,
            len(self.dataset_json.get("channel_names") or self.dataset_json["modality"]),
            self.label_manager.num_segmentation_heads,
        )
        fine_tuning = self.start.network is not None
        self.initial_lr = self.rounds.fine_tuning_rate if fine_tuning else self._stock_lr

    def configure_optimizers(self) -> tuple[Any, Any]:
        """nnU-Net's optimizer; its schedule begins at the last restart, after a warm-up."""
        optimizer, _ = super().configure_optimizers()
        return optimizer, self._schedule(optimizer)

    def _schedule(self, optimizer: torch.optim.Optimizer) -> ShiftedPolyLR:
        first = self.state.get("restarted", 0)
        warm_up = round(WARM_UP * (self.num_epochs - first)) if self.start.network else 0
        return ShiftedPolyLR(optimizer, self.initial_lr, first, self.num_epochs, warm_up)

    def train_step(self, batch: dict) -> dict:
        """nnU-Net's step; on a CPU that is fast at bfloat16 it takes half the time."""
        with torch.autocast("cpu", torch.bfloat16) if self._bf16 else contextlib.nullcontext():
            return super().train_step(batch)

    def do_split(self) -> tuple[list[str], list[str]]:
        """nnU-Net's split of the scans, without the excluded ones in the training set."""
        train, validate = self.phantoms.without(*super().do_split())
        train = [case for case in train if case not in self.lists.excluded]
        return train, list(train) if self.fold == "all" else validate

    def get_tr_and_val_datasets(self) -> tuple[nnUNetBaseDataset, nnUNetBaseDataset]:
        """Datasets for the data loaders, with cases and labels of the last round."""
        train, validate = super().get_tr_and_val_datasets()
        train.sample_thresholds = True
        last = self._active_round
        if last is not None:
            folder = self._clisc_folder / last["name"]
            check_overlays(folder, last, self.lists.trusted)
            train.identifiers = self.lists.to_learn(last["kept"], train.identifiers)
            if not train.identifiers:
                found = f"all cases kept by {last['name']}"
                raise UserError(
                    EXCLUDE_FILE, found, "at least one case left to train on", "shorten it"
                )
            train.use_labels(self._clisc_folder / last["name"], self.lists.trusted)
            if self.fold == "all":
                validate.identifiers = list(train.identifiers)
                validate.use_labels(train.overlay_folder, self.lists.trusted)
        self.phantoms.add_to(train, self.rounds.phantom_share, self.lists.excluded)
        if self.phantoms.names:
            self.print_to_log_file(f"CLISC: {self.phantoms.describe(train)}")
        return train, validate

    @property
    def _active_round(self) -> dict[str, Any] | None:
        """Latest round that kept at least one case, or None."""
        return next((one for one in reversed(self.state["rounds"]) if one["kept"]), None)

    @property
    def _clisc_folder(self) -> Path:
        return Path(self.output_folder) / "clisc"

    @property
    def _raw_clisc_folder(self) -> Path | None:
        """`clisc` folder of the raw dataset, which may not exist on this machine."""
        if not nnUNet_raw.is_set():
            return None
        return DatasetLayout(Path(nnUNet_raw) / self.plans_manager.dataset_name).clisc

    # Rounds

    def on_train_start(self) -> None:
        """Check that SAM for later rounds can be loaded, then start as nnU-Net does."""
        with self._exit_on_user_error():
            self._prepare()
            super().on_train_start()

    def on_epoch_start(self) -> None:
        """Run a round if one is due, then start the epoch."""
        if any(epoch <= self.current_epoch for epoch in self._pending_rounds):
            with self._exit_on_user_error():
                self._run_round(len(self.state["rounds"]) + 1)
        super().on_epoch_start()

    @property
    def _round_epochs(self) -> list[int]:
        return round_epochs(self.rounds, self.num_epochs)

    @property
    def _pending_rounds(self) -> list[int]:
        return self._round_epochs[len(self.state["rounds"]) :]

    def _prepare(self) -> None:
        if not self.was_initialized:
            self.initialize()
        log = self.print_to_log_file
        log(f"CLISC: settings {describe(self.rounds)}")
        log(f"CLISC: starts from {self.start.reason}")
        log(f"CLISC: rounds after epochs {self._round_epochs or 'none'} of {self.num_epochs}")
        trusted, excluded = len(self.lists.trusted), len(self.lists.excluded)
        log(f"CLISC: {trusted} trusted and {excluded} excluded cases{self.lists.remark}")
        if self._pending_rounds:
            check_judge(self.rounds.judge)
            dataset_sam = self._load_dataset_sam(torch.device("cpu"))
            log(f"CLISC: SAM {dataset_sam.sam.name}, sha256 {dataset_sam.sam.sha256[:12]}")
            if self.dataset_json.get(ENTRY) and not is_pseudo_label_sam(
                dataset_sam.sam, self.dataset_json
            ):
                log("CLISC: this is not the SAM that made the labels")

    def _load_dataset_sam(self, device: torch.device) -> DatasetSam:
        rounds = self.rounds
        return load_dataset_sam(
            self.dataset_json, rounds.sam, rounds.looks, device, self._raw_clisc_folder
        )

    def _run_round(self, number: int) -> None:
        # A round that was interrupted restarts from here; also allows comparing before and after.
        self._save_latest()
        self._keep_latest_as(f"checkpoint_before_round_{number:02d}.pth")
        train, _ = self.do_split()
        data = self.dataset_class(self.preprocessed_dataset_folder, sorted(train))
        past, last = self.state["rounds"], self._active_round
        rejected = set(train) - set(last["kept"]) if last and not self.rounds.readmit else ()
        if last:
            data.use_labels(self._clisc_folder / last["name"], self.lists.trusted)
        with judging(self, self.rounds.judge, self.rounds.mirroring) as predict:
            loader = CaseLoader.of_training(
                data,
                tuple(self.plans_manager.transpose_backward),
                self.dataset_json,
                self._raw_clisc_folder,
            )
            facts = run_round(
                Round(
                    RoundFiles(number, self.current_epoch, self.state["run"], self._clisc_folder),
                    TrainingCases(sorted(train), loader, self.lists.trusted, frozenset(rejected)),
                    self.rounds,
                    predict,
                    lambda: self._load_dataset_sam(self.device),
                    tuple(self.configuration_manager.patch_size),
                    ProcessGroup.of_this_process(),
                )
            )
        self.print_to_log_file(f"CLISC round {number}: {facts['decision']}; {facts['seconds']} s")
        if slices_note(facts):
            self.print_to_log_file(f"CLISC round {number}: {slices_note(facts)}")
        past.append(
            {
                "name": f"round_{number:02d}",
                "epoch": self.current_epoch,
                "kept": kept_cases(facts),
                "relabelled": relabelled_cases(facts),
                "relabel": facts["settings"]["relabel"],
            }
        )
        if not past[-1]["kept"]:
            self.print_to_log_file(
                "CLISC: no case is left; training continues with the previous cases"
            )
        elif self.rounds.restart:
            self._restart()
        self._rebuild_dataloaders()
        # Scores against old and new labels are not comparable.
        self._best_ema = None
        self._save_latest()

    def _restart(self) -> None:
        """Return to the weights of the start (paper: random), with a new schedule."""
        if self.start.network is not None:
            load_into(self.network, self.start.network.state)
        else:
            load_into(self.network, self._random_network().state_dict())
        self.state["restarted"] = self.current_epoch
        self.optimizer, self.lr_scheduler = self.configure_optimizers()
        what = "the phantom network's" if self.start.network is not None else "random"
        self.print_to_log_file(f"CLISC: network reset to {what} weights")

    def _random_network(self) -> torch.nn.Module:
        with torch.random.fork_rng(devices=[]):
            # The same weights on all ranks of a distributed training.
            torch.manual_seed(self.current_epoch)
            return self.build_network_architecture(
                self.plans_manager,
                self.configuration_manager,
                self.num_input_channels,
                self.label_manager.num_segmentation_heads,
                self.enable_deep_supervision,
            )

    def _rebuild_dataloaders(self) -> None:
        # Worker processes of the loaders have a copy of the old dataset.
        for loader in (self.dataloader_train, self.dataloader_val):
            if hasattr(loader, "_finish"):
                with contextlib.redirect_stdout(io.StringIO()):
                    loader._finish()
        self.dataloader_train, self.dataloader_val = self.get_dataloaders()

    # Checkpoints and log

    def _save_latest(self) -> None:
        # save_checkpoint stores current_epoch + 1, but this epoch has not started yet.
        self.current_epoch -= 1
        self.save_checkpoint(str(Path(self.output_folder) / "checkpoint_latest.pth"))
        self.current_epoch += 1

    def _keep_latest_as(self, name: str) -> None:
        if self.local_rank == 0 and not self.disable_checkpointing:
            keep_copy(Path(self.output_folder) / "checkpoint_latest.pth", name)

    def save_checkpoint(self, filename: str) -> None:
        """Write the checkpoint atomically, with the state and the settings of the rounds."""
        if self.local_rank == 0 and not self.disable_checkpointing:
            entry = {**self.state, "settings": as_plain(self.rounds)}
            save_with_entry(super().save_checkpoint, filename, ENTRY, entry)
        else:
            super().save_checkpoint(filename)

    def load_checkpoint(self, filename_or_checkpoint: str) -> None:
        """Load the checkpoint, and restore the state and the settings of the rounds."""
        super().load_checkpoint(filename_or_checkpoint)
        entry = read_entry(filename_or_checkpoint, ENTRY)
        if entry is not None:
            self.state = {key: value for key, value in entry.items() if key != "settings"}
            with self._exit_on_user_error():
                stored = entry.get("settings") or {}
                self.rounds, differences = settings_to_resume(stored, self.rounds, os.environ)
            # Of the training that is resumed, whatever is requested now.
            self._use_start()
            self.lr_scheduler = self._schedule(self.optimizer)
            if differences:
                self.print_to_log_file(
                    f"CLISC: continuing with the settings of the checkpoint: {differences}"
                )

    def print_to_log_file(self, *args: Any, **kwargs: Any) -> None:
        """Mark scores as computed against pseudo-labels."""
        if args and str(args[0]).startswith(_AGAINST_LABELS):
            args = (*args, "(against pseudo-labels, not the truth)")
        super().print_to_log_file(*args, **kwargs)

    def _check_configuration(self) -> None:
        if self.is_cascaded:
            raise UserError(
                self.configuration_name,
                "a configuration of the cascade",
                "2d, 3d_lowres or 3d_fullres",
                "train one of these with this trainer",
            )
        if self.label_manager.has_regions or self.label_manager.foreground_labels != [TUMOUR_LABEL]:
            raise UserError(
                "dataset.json",
                f"labels {self.dataset_json['labels']}",
                "background 0 and one foreground label 1",
                "make the dataset with clisc_make_pseudo_dataset",
            )

    @contextlib.contextmanager
    def _exit_on_user_error(self) -> Iterator[None]:
        """Exit with one line and no traceback on a `UserError`."""
        try:
            yield
        except UserError as error:
            self.print_to_log_file(f"nnUNetv2_train: error: {error}")
            raise SystemExit(error.exit_status) from None
