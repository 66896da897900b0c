"""The weights that a training starts from, and its learning rate after that.

nnU-Net's `-pretrained_weights` leaves the segmentation layers out; here the whole network is
loaded, where the plan has the architecture of the bundled phantom network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler

from clisc_nnunet.models.phantom_network import (
    PhantomNetwork,
    is_bundled,
    load_phantom_network,
    misfit,
)

# Share of the schedule in which the learning rate of a fine-tuning rises linearly.
WARM_UP = 0.05


@dataclass(frozen=True)
class NetworkStart:
    """What a training starts from.

    Parameters
    ----------
    network : PhantomNetwork or None
        None: random weights.
    reason : str
        For the log.
    """

    network: PhantomNetwork | None
    reason: str


def choose_start(
    start: str, configuration: Mapping[str, Any], channels: int, outputs: int
) -> NetworkStart:
    """The phantom network where it is wanted and fits, else random weights.

    Parameters
    ----------
    start : {"phantoms", "random"}
    configuration : mapping
        Configuration of nnU-Net's plans.
    channels, outputs : int
        Input channels and segmentation heads.
    """
    if start == "random":
        return NetworkStart(None, "random weights, as requested")
    if not is_bundled():
        return NetworkStart(None, "random weights: this installation has no phantom network")
    network = load_phantom_network()
    why_not = misfit(configuration, channels, outputs, network)
    if why_not:
        return NetworkStart(None, f"random weights: the plan has {why_not}")
    return NetworkStart(network, f"the phantom network (sha256 {network.sha256[:12]})")


def as_float32(_: torch.nn.Module, __: Any, output: Any) -> Any:
    """Forward hook: outputs in float32, in which the loss is computed."""
    several = isinstance(output, list | tuple)
    return [one.float() for one in output] if several else output.float()


class ShiftedPolyLR(PolyLRScheduler):
    """nnU-Net's polynomial learning rate schedule, from a later epoch on, after a warm-up.

    Parameters
    ----------
    optimizer : Optimizer
    initial_lr : float
        Reached at the end of the warm-up.
    first, last : int
        Epochs between which the rate falls to 0.
    warm_up : int
        Epochs during which it rises linearly; 0 for none.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        initial_lr: float,
        first: int,
        last: int,
        warm_up: int = 0,
    ) -> None:
        self._first, self._warm_up = first, warm_up
        super().__init__(optimizer, initial_lr, last - first)

    def step(self, current_step: int | None = None) -> None:
        """Set the learning rate of an epoch; `current_step` counts from the start of training."""
        epoch = None if current_step is None else max(current_step - self._first, 0)
        super().step(epoch)
        if epoch is not None and epoch < self._warm_up:
            for group in self.optimizer.param_groups:
                group["lr"] *= (epoch + 1) / (self._warm_up + 1)
            self._last_lr = [group["lr"] for group in self.optimizer.param_groups]
