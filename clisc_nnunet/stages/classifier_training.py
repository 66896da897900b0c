"""Stages 4 and 8: train the slice classifier on the slice labels of stage 3."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from clisc_nnunet.errors import NoTumourError, UserError
from clisc_nnunet.models.backbones import Backbone
from clisc_nnunet.models.slice_classifier import SliceClassifier, to_images
from clisc_nnunet.settings import ClassifierSettings
from clisc_nnunet.stages.slice_classes import NORMAL, TUMOUR
from clisc_nnunet.stages.slice_extraction import SliceStack

# Slices that are loaded at a time, in the order of the cases; bounds the memory.
READ_AHEAD = 2048
# Slice stacks cached in memory, about 4 MB each.
REMEMBERED_STACKS = 64
# Augmentation: shift as a share of the side, natural logarithm of gamma and gain.
SHIFT, LOG_GAMMA, LOG_GAIN = 0.06, 0.25, 0.15


def train_classifier(
    backbone: Backbone,
    slices: Sequence[np.ndarray],
    labels: np.ndarray,
    settings: ClassifierSettings,
    seed: int,
    device: torch.device,
    progress: Callable[[int, float], None] | None = None,
) -> SliceClassifier:
    """Train a classifier of normal and tumour slices for a fixed number of epochs.

    Parameters
    ----------
    backbone : Backbone
        Pretrained initialisation; not modified.
    slices : sequence of uint8 ndarray of shape (row, column)
        All of the same shape. Loaded `READ_AHEAD` at a time in ascending order, so that slices of
        one file should be adjacent.
    labels : int ndarray of shape (n,)
        0 normal, 1 tumour: slice labels of stage 3, never reference labels.
    settings : ClassifierSettings
    seed : int
        Seed of the head's initialisation, the slice order, dropout and augmentation; torch's
        global generators are restored.
    device : torch.device
    progress : callable, optional
        Called with the number of the finished epoch, from 1, and its mean loss.

    Returns
    -------
    SliceClassifier
        On `device`, in evaluation mode.

    Raises
    ------
    NoTumourError
        If no slice is labelled tumour.
    UserError
        If no slice is labelled normal, or the loss is not finite.

    Notes
    -----
    The weights of the last epoch are used: selecting an epoch would need reference labels.
    """
    _check_labels(labels, len(slices))
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    with _seeded(seed, device):
        classifier = SliceClassifier(backbone, settings.hidden, settings.dropout).to(device)
        optimiser = torch.optim.Adam(classifier.parameters(), lr=settings.learning_rate)
        schedule = torch.optim.lr_scheduler.StepLR(
            optimiser, settings.step_epochs, settings.step_gamma
        )
        classifier.train()
        for epoch in range(1, settings.epochs + 1):
            sampled = draw_epoch(labels, settings.slices_per_epoch, rng)
            loss_sum = 0.0
            for rows, pixels in _batches(slices, sampled, settings.batch):
                images = to_images(pixels, device)
                if settings.augment:
                    images = augment(images, generator)
                targets = torch.from_numpy(labels[rows]).long().to(device)
                loss = F.cross_entropy(classifier(images), targets)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                loss_sum += len(rows) * float(loss.detach())
            schedule.step()
            if not np.isfinite(loss_sum):
                raise UserError(
                    f"learning rate {settings.learning_rate:g} of the classifier",
                    f"a loss that is not finite in epoch {epoch}",
                    "a decreasing loss",
                    "lower it",
                )
            if progress is not None:
                progress(epoch, loss_sum / len(sampled))
    return classifier.eval()


def draw_epoch(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Sample the slices of one epoch, in random order.

    Parameters
    ----------
    labels : int ndarray of shape (n,)
    size : int
        Number of slices, at most `n`; half of them are tumour slices, regardless of their share
        in the data. 0: every slice once (paper).
    rng : numpy.random.Generator

    Returns
    -------
    int ndarray
        Indices. Slices of a class repeat only after all of them were used.
    """
    if size == 0:
        return rng.permutation(len(labels))
    size = max(min(size, len(labels)), 2)
    parts = []
    for label, count in ((NORMAL, size // 2), (TUMOUR, size - size // 2)):
        members = np.flatnonzero(labels == label)
        rounds = -(-count // len(members))
        parts.append(np.concatenate([rng.permutation(members) for _ in range(rounds)])[:count])
    return rng.permutation(np.concatenate(parts))


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Randomly mirror left-right, shift, and change the contrast of each slice.

    Parameters
    ----------
    images : float32 Tensor of shape (n, 1, row, column)
        Grey values in 0..255.
    generator : torch.Generator
        On the CPU, for equal random numbers on all devices.

    Returns
    -------
    float32 Tensor of the same shape
        Grey values in 0..255; background stays 0.
    """
    n = len(images)
    draws = torch.rand((n, 5), generator=generator) * 2 - 1
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = torch.where(draws[:, 0] < 0, -1.0, 1.0)
    theta[:, 1, 1] = 1.0
    # Grid coordinates range from -1 to 1, so that a share of the side counts twice.
    theta[:, :, 2] = 2 * SHIFT * draws[:, 1:3]
    grid = F.affine_grid(theta, list(images.shape), align_corners=False).to(images.device)
    moved = F.grid_sample(images, grid, align_corners=False)
    gamma = torch.exp(LOG_GAMMA * draws[:, 3]).view(-1, 1, 1, 1).to(images.device)
    gain = torch.exp(LOG_GAIN * draws[:, 4]).view(-1, 1, 1, 1).to(images.device)
    return 255 * (gain * (moved / 255).clamp(0, 1) ** gamma).clamp(max=1)


class TrainingSlices(Sequence[np.ndarray]):
    """Training slices of many cases by index, with only a few cases in memory.

    Parameters
    ----------
    examples : sequence of (case, plane, label)
        Sorted by case, so that adjacent slices come from one file.
    stack : callable
        Returns the slices of a case.
    masked : callable, optional
        Returns the masked slices of a case, uint8 (plane, row, column), which replace the plain
        ones.
    keep_plain : bool
        Append the unmasked slices after the masked ones.
    """

    def __init__(
        self,
        examples: Sequence[tuple[str, int, int]],
        stack: Callable[[str], SliceStack],
        masked: Callable[[str], np.ndarray] | None = None,
        *,
        keep_plain: bool = False,
    ) -> None:
        self._examples, self._stack = examples, stack
        self._masked = None if masked is None else lru_cache(REMEMBERED_STACKS)(masked)
        self._rounds = 2 if keep_plain and masked is not None else 1

    def __len__(self) -> int:
        return len(self._examples) * self._rounds

    def __getitem__(self, index: Any) -> Any:
        case, plane, _ = self._examples[index % len(self._examples)]
        if self._masked is None or index >= len(self._examples):
            return self._stack(case).pixels[plane]
        return self._masked(case)[plane]


def _check_labels(labels: np.ndarray, count: int) -> None:
    if labels.shape != (count,):
        raise ValueError(f"labels of shape {labels.shape} for {count} slices")
    found = set(np.unique(labels).tolist())
    if not found <= {NORMAL, TUMOUR}:
        raise ValueError(f"labels {sorted(found)}; expected 0 (normal) and 1 (tumour)")
    if len(found) < 2:
        names = {frozenset(): "no slice", frozenset({NORMAL}): "only normal slices"}
        only = names.get(frozenset(found), "only tumour slices")
        kind = UserError if TUMOUR in found else NoTumourError
        raise kind(
            "labels of the slice classifier",
            only,
            "slices of both classes",
            "check the slice labels; other text prompts or more cases may help",
        )


def _batches(
    slices: Sequence[np.ndarray], sampled: np.ndarray, batch: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Indices and pixels, uint8 (k, row, column), of each batch, in sampled order."""
    for start in range(0, len(sampled), READ_AHEAD):
        part = sampled[start : start + READ_AHEAD]
        ascending, place = np.unique(part, return_inverse=True)
        pixels = np.stack([slices[int(index)] for index in ascending])
        for first in range(0, len(part), batch):
            rows = slice(first, first + batch)
            yield part[rows], pixels[place[rows]]


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators and make cuDNN deterministic within the context."""
    cuda = device.type == "cuda"
    index = (
        device.index if device.index is not None else (torch.cuda.current_device() if cuda else 0)
    )
    with (
        torch.random.fork_rng(devices=[index] if cuda else []),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        torch.random.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield
