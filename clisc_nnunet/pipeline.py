"""From scans to pseudo-labels: the stages of the paper, in order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from clisc_nnunet.casework import Casework
from clisc_nnunet.outcome import CaseOutcome
from clisc_nnunet.volume import Source


def make_pseudo_labels(
    scans: Mapping[str, Source], labels_folder: Path, work: Casework
) -> list[CaseOutcome]:
    """Draw a pseudo-label for every scan that shows a tumour.

    Parameters
    ----------
    scans : mapping of case name to file or DICOM series
    labels_folder : Path
        Receives `<case>.nii.gz` on the grid of each scan.
    work : Casework
        Applies each stage to the cases; holds models, settings and the store, in which every
        stage's result is kept, so that a run that was stopped goes on where it was.

    Returns
    -------
    list of CaseOutcome
        One per scan, in order of name.

    Raises
    ------
    NoTumourError
        If CLIP finds tumours in no slice, or in every one: there is nothing to learn from.
    """
    work.cut_slices(scans)  # 1: axial 8-bit slices
    work.label_slices()  # 2, 3: CLIP, and the vote of neighbours

    work.train_classifier("raw")  # 4
    work.find_regions("raw")  # 5, 6: CAM and region of interest
    last = "raw"
    if work.settings.masking.mode != "off":
        work.train_classifier("enhanced", masked_by="raw")  # 7, 8: adaptive masking
        work.find_regions("enhanced")
        last = "enhanced"

    work.segment_regions(last)  # 9, 10: prompts, SAM
    return work.draw_labels(last, scans, labels_folder)  # 11: back onto the scan's grid
