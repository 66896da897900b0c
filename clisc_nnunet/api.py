"""The commands on folders as functions; `inference/segment_image.py` has the one for a scan.

Mistakes in the input raise `clisc.UserError`, whose text is one line. Heavy libraries are imported
at the first call. With `processes` above 1, calls of a script must stand under
`if __name__ == "__main__":`, since each worker process imports the script.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from clisc_nnunet.errors import UserError
from clisc_nnunet.processes import check_main_guard

if TYPE_CHECKING:
    from clisc_nnunet.dataset_conversion.conversion import Conversion
    from clisc_nnunet.evaluation.evaluate import Evaluation
    from clisc_nnunet.evaluation.mask_pairs import Missing
    from clisc_nnunet.inference.segment_image import Device
    from clisc_nnunet.quality_control.score_predictions import Estimate
    from clisc_nnunet.s3f.similarity import SamPasses
    from clisc_nnunet.settings import Settings

_DATASET = re.compile(r"Dataset(?P<id>\d{3})_(?P<name>.+)")


def make_pseudo_labels(
    scans: str | Path,
    out: str | Path,
    *,
    settings: Settings | None = None,
    models: Literal["bundled", "paper"] = "bundled",
    clip: str | None = None,
    sam: str | None = None,
    classifier: str | None = None,
    channels: Sequence[str] = (),
    label_channel: str = "flair",
    cases: Sequence[str] = (),
    leave_out: Sequence[str] = (),
    brain_masks: str | Path | None = None,
    slice_labels: str | Path | None = None,
    empty_cases: Literal["leave-out", "background"] = "leave-out",
    add_phantoms: int | None = None,
    copy: bool = False,
    resume: bool = False,
    device: Device | None = None,
    processes: int = 1,
) -> Conversion:
    """Turn a folder of unlabelled scans into an nnU-Net raw dataset with pseudo-labels.

    Parameters
    ----------
    scans : str or Path
        Folder of scans, in any layout.
    out : str or Path
        The dataset, such as `nnUNet_raw/Dataset501_CLISC`.
    settings : Settings, optional
        By default `clisc_nnunet.settings.PRESETS["default"]`.
    models, clip, sam, classifier, channels, label_channel, cases, leave_out, brain_masks, \
slice_labels, empty_cases, add_phantoms, copy, resume, device, processes
        As the options of `clisc_make_pseudo_dataset`; `resume` is its `--continue`, and
        `label_channel` its `--prompt-channel`.

    Returns
    -------
    Conversion
        Folder and outcomes; `clisc/report.html` in the folder shows every case.

    Raises
    ------
    UserError
        For invalid options or input, and without any tumour.

    Examples
    --------
    >>> import clisc_nnunet as clisc
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp())
    >>> made = clisc.make_phantoms(folder / "phantoms", 3, seed=500, spacing_mm=3, tumour_free=0)
    >>> done = clisc.make_pseudo_labels(
    ...     folder / "phantoms/images", folder / "nnUNet_raw/Dataset501_CLISC"
    ... )  # doctest: +ELLIPSIS
    BraTS-like folder of 3 cases...
    >>> [outcome.case for outcome in done.outcomes]
    ['phantom_0000', 'phantom_0001', 'phantom_0002']
    >>> (done.folder / "clisc/report.html").is_file()
    True
    """
    check_main_guard(processes)
    from clisc_nnunet.dataset_conversion.conversion import convert
    from clisc_nnunet.dataset_conversion.options import ConversionOptions

    folder = Path(out)
    parts = _DATASET.fullmatch(folder.name)
    if parts is None:
        expected = "a folder named like Dataset501_CLISC"
        raise UserError("out", str(folder), expected, "choose such a name")
    return convert(
        ConversionOptions(
            Path(scans),
            int(parts["id"]),
            parts["name"],
            folder.parent,
            models=models,
            clip=clip,
            sam=sam,
            classifier=classifier,
            settings=settings,
            slice_labels=_path(slice_labels),
            device=device,
            processes=processes,
            copy=copy,
            empty_cases=empty_cases,
            add_phantoms=add_phantoms,
            resume=resume,
            channels=tuple(channels),
            label_channel=label_channel,
            cases=tuple(cases),
            leave_out=tuple(leave_out),
            brain_masks=_path(brain_masks),
        )
    )


def evaluate(
    predictions: str | Path,
    references: str | Path,
    out: str | Path | None = None,
    *,
    images: str | Path | None = None,
    channels: Sequence[str] = (),
    label_channel: str = "flair",
    labels: Sequence[int] = (),
    tolerance_mm: float = 1.0,
    missing: Missing = "error",
    mask_name: str = "",
    processes: int = 1,
    seed: int = 0,
) -> Evaluation:
    """Score a folder of masks against references.

    Parameters
    ----------
    predictions : str or Path
        Folder of `CASE.nii.gz`.
    references : str or Path
        Folder of `CASE.nii.gz`, or a tree of masks such as that of BraTS.
    out : str or Path, optional
        Folder for tables and a page; by default nothing is written.
    images, channels, label_channel, labels, tolerance_mm, missing, mask_name, processes, seed
        As the options of `clisc_evaluate`; `labels` is its `--label-of-interest`.

    Returns
    -------
    Evaluation
        Scores per case and their summary.

    Raises
    ------
    UserError
        For invalid options or files; nothing is written then.

    Examples
    --------
    >>> import clisc_nnunet as clisc
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp())
    >>> made = clisc.make_phantoms(folder, 2, seed=500, spacing_mm=3, tumour_free=0)
    >>> network = clisc.load_network()
    >>> for scan in sorted(folder.glob("images/*/*_flair.nii.gz")):
    ...     clisc.segment(scan, network).save(folder / f"masks/{scan.parent.name}.nii.gz")
    >>> found = clisc.evaluate(folder / "masks", folder / "labels")
    >>> [scores.case for scores in found.scores if scores.dice > 0.5]
    ['phantom_0000', 'phantom_0001']
    """
    check_main_guard(processes)
    from clisc_nnunet.evaluation.evaluate import EvaluationOptions
    from clisc_nnunet.evaluation.evaluate import evaluate as score

    return score(
        EvaluationOptions(
            Path(predictions),
            Path(references),
            _path(out),
            _path(images),
            tuple(channels),
            label_channel,
            tuple(labels),
            tolerance_mm,
            missing,
            mask_name,
            processes=processes,
            seed=seed,
        )
    )


def estimate_quality(
    images: str | Path,
    predictions: str | Path,
    out: str | Path | None = None,
    *,
    sam: str = "",
    looks: SamPasses = "all",
    repeats: int = 5,
    jitter: float = 0.05,
    seed: int = 0,
    channels: Sequence[str] = (),
    label_channel: str = "",
    brain_masks: str | Path | None = None,
    resume: bool = False,
    device: Device | None = None,
    processes: int = 1,
) -> Estimate:
    """Rank a folder of masks by their agreement with SAM, the least trusted first, without labels.

    Parameters
    ----------
    images : str or Path
        Folder of the scans.
    predictions : str or Path
        Folder of masks, `CASE.nii.gz`.
    out : str or Path, optional
        Folder for tables and a page; by default `quality` in the folder of masks.
    sam, looks, repeats, jitter, seed, channels, label_channel, brain_masks, resume, device, \
processes
        As the options of `clisc_estimate_quality`; `resume` is its `--continue`, and
        `label_channel` its `--prompt-channel`.

    Returns
    -------
    Estimate
        Cases by rank. Their score is an estimate, and not one of Dice.

    Raises
    ------
    UserError
        For invalid options or input, and if no mask has a scan.

    Examples
    --------
    >>> import clisc_nnunet as clisc
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp())
    >>> made = clisc.make_phantoms(folder, 2, seed=500, spacing_mm=3, tumour_free=0)
    >>> found = clisc.estimate_quality(folder / "images", folder / "labels", looks="axial")
    >>> [case.rank for case in found.cases], found.out.name
    ([1, 2], 'quality')
    """
    check_main_guard(processes)
    from clisc_nnunet.quality_control.prompt_stability import JitterSettings
    from clisc_nnunet.quality_control.score_predictions import QualityOptions
    from clisc_nnunet.quality_control.score_predictions import estimate_quality as estimate

    return estimate(
        QualityOptions(
            Path(images),
            Path(predictions),
            _path(out),
            sam,
            looks,
            JitterSettings(repeats, jitter, seed),
            device,
            processes,
            _path(brain_masks),
            tuple(channels),
            label_channel,
            resume,
        )
    )


def make_phantoms(
    out: str | Path,
    count: int = 12,
    *,
    seed: int = 0,
    anatomies: str | Path | None = None,
    spacing_mm: float = 1.5,
    tumour_free: float = 0.1,
    kinds: Literal["usual", "heads", "unseen", "aged", "sclerosis", "vascular"] = "usual",
    processes: int = 1,
) -> list[Mapping[str, Any]]:
    """Make synthetic heads with tumours and their masks, to try things on.

    Parameters
    ----------
    out : str or Path
        Gets `images/CASE/CASE_flair.nii.gz` and `labels/CASE.nii.gz`.
    count : int
    seed, anatomies, spacing_mm, tumour_free, kinds, processes
        As the options of `clisc_make_phantoms`.

    Returns
    -------
    list of mapping
        Facts of each phantom, such as `case` and `tumour_ml`.

    Raises
    ------
    UserError
        If the folder has other files, or a value is out of range.

    Examples
    --------
    >>> import clisc_nnunet as clisc
    >>> from tempfile import mkdtemp
    >>> [facts["case"] for facts in clisc.make_phantoms(mkdtemp(), 1, spacing_mm=4)]
    ['phantom_0000']
    """
    check_main_guard(processes)
    from clisc_nnunet.phantoms.phantom_dataset import make_phantom_dataset

    folder, label_maps = Path(out), _path(anatomies)
    return list(
        make_phantom_dataset(
            folder, count, seed, label_maps, spacing_mm, tumour_free, processes, kinds
        )
    )


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
