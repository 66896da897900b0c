"""Predictions of label-free baseline methods, for `clisc_evaluate`.

    python -m benchmarks.baselines -i SCANS -o OUT [--only NAME ...] [-d DATASET] [--unet WORK]

writes OUT/NAME/CASE.nii.gz; existing files are kept. No reference is read. `cam-only` and
`cam-without-amda` are regions stored by a conversion of the same scans (DATASET); the pseudo-labels
of CLISC itself are in DATASET/labelsTr.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from benchmarks.otsu import brightest_class
from benchmarks.phantom_unet import load_trained
from benchmarks.phantom_unet import predict as unet_logits
from benchmarks.sam_automatic import automatic_masks
from clisc_nnunet.dataset_layout import DatasetLayout
from clisc_nnunet.errors import EXIT_DONE, EXIT_SOME_CASES_FAILED, ScanError, UserError
from clisc_nnunet.evaluation.stage_scores import load_arrays, region_on_scan
from clisc_nnunet.inputs.find_cases import Case, find_cases
from clisc_nnunet.io.volume import Volume, read_volume, write_volume
from clisc_nnunet.models.registry import BUNDLED_NAME
from clisc_nnunet.models.sam import SamModel, load_sam
from clisc_nnunet.pipeline.serialization import unpack_stack
from clisc_nnunet.settings import PromptSettings, PseudoLabelSettings, SamSettings, SliceSettings
from clisc_nnunet.stages.brain_extraction import extract_brain
from clisc_nnunet.stages.connected_components import large_components
from clisc_nnunet.stages.pseudo_label import make_pseudo_label
from clisc_nnunet.stages.sam.embedding_cache import EmbeddingCache
from clisc_nnunet.stages.sam.mask_stacking import stack_masks
from clisc_nnunet.stages.sam.volume_segmenter import VolumeSegmenter
from clisc_nnunet.stages.slice_extraction import SliceStack, make_slices

# Size of the box around each grid point for the bundled SAM, relative to the side of the slice. On
# two phantoms 1/4, 1/3 and 1/2 gave a Dice of 0.86, 0.87 and 0.88.
BUNDLED_BOX = 0.5


@dataclass(frozen=True)
class Resources:
    """Models and stored results, loaded when a baseline first needs them."""

    sam_name: str = "bundled"
    dataset: Path | None = None
    unet_folder: Path | None = None

    @cached_property
    def sam(self) -> SamModel:
        """SAM on the CPU."""
        return load_sam(self.sam_name, torch.device("cpu"))

    @cached_property
    def unet(self) -> nn.Module:
        """U-Net of `benchmarks.phantom_unet`."""
        return load_trained(_required(self.unet_folder, "--unet"))

    def stored(self, case: str, stage: str) -> dict[str, np.ndarray]:
        """Stored results of a stage of the conversion."""
        path = DatasetLayout(_required(self.dataset, "-d")).stages / case / f"{stage}.npz"
        if not path.is_file():
            raise ScanError(path, "no such file", "a conversion of this scan", "check -d")
        return load_arrays(path)


@dataclass(frozen=True)
class ScanView:
    """A scan, its brain mask and its slices."""

    case: str
    scan: Volume
    brain: np.ndarray
    resources: Resources

    @cached_property
    def stack(self) -> SliceStack:
        """Slices with the default settings."""
        return make_slices(self.scan, SliceSettings(), self.brain)

    def label(self, logits: np.ndarray) -> np.ndarray:
        """Convert logits of the slices to a mask on the scan's grid (stage 11)."""
        settings = PseudoLabelSettings()
        return make_pseudo_label(logits, self.stack, self.scan.geometry, self.brain, settings) > 0

    def region(self, classifier: str) -> np.ndarray:
        """Stored region of interest of a conversion, on the scan's grid."""
        stack = unpack_stack(self.resources.stored(self.case, "slices"))
        kept = self.resources.stored(self.case, f"{classifier}_regions")
        return region_on_scan(kept, stack, self.scan.geometry)


def brain_box(view: ScanView) -> np.ndarray:
    """SAM prompted with the box of the brain in each axial plane."""
    settings = SamSettings(views=("axial",), close_up=0.0)
    prompts = PromptSettings(margin=0, positive_points=0, negative_corners=False)
    model = view.resources.sam
    sam = VolumeSegmenter(model, prompts, settings, EmbeddingCache(model, settings))
    stack = view.stack
    planes = stack.planes_with_brain
    masks = sam.axial(view.case, stack, planes, stack.brain)
    return view.label(stack_masks(masks, planes, stack.pixels.shape))


def automatic(view: ScanView) -> np.ndarray:
    """Best automatic mask of SAM in each plane; of these the largest component."""
    stack = view.stack
    planes = stack.planes_with_brain
    model = view.resources.sam
    share = BUNDLED_BOX if model.name == BUNDLED_NAME else 0.0
    masks = automatic_masks(model.sam, stack.pixels[planes], stack.brain[planes], share)
    # The same threshold as for pseudo-labels of the method.
    min_iou = PseudoLabelSettings().min_case_iou
    return large_components(
        view.label(stack_masks(masks, planes, stack.pixels.shape, min_iou)), 1.0
    )


def unet(view: ScanView) -> np.ndarray:
    """Prediction of the U-Net trained on phantoms only."""
    return view.label(unet_logits(view.resources.unet, view.stack.pixels))


BASELINES: dict[str, Callable[[ScanView], np.ndarray]] = {
    "otsu": lambda view: brightest_class(view.scan.array, view.brain),
    "sam-brain-box": brain_box,
    "sam-automatic": automatic,
    "cam-without-amda": lambda view: view.region("raw"),
    "cam-only": lambda view: view.region("enhanced"),
    "phantom-unet": unet,
    "phantom-unet-largest": lambda view: large_components(unet(view), 1.0),
}
"""Functions from a scan to a mask on its grid, bool (plane, row, column)."""


def predict_case(case: Case, names: Sequence[str], out: Path, resources: Resources) -> None:
    """Write the predictions of a case that are not there yet."""
    files = {name: out / name / f"{case.name}.nii.gz" for name in names}
    missing = [name for name in names if not files[name].exists()]
    if not missing:
        return
    scan = read_volume(case.image)
    view = ScanView(case.name, scan, extract_brain(scan, SliceSettings()), resources)
    for name in missing:
        write_volume(files[name], BASELINES[name](view), scan.geometry)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-i", type=Path, required=True, metavar="SCANS", help="folder of scans")
    parser.add_argument("-o", type=Path, required=True, metavar="OUT", help="for the predictions")
    parser.add_argument("--only", nargs="+", choices=list(BASELINES), default=list(BASELINES))
    parser.add_argument("-d", type=Path, metavar="DATASET", help="conversion of the same scans")
    parser.add_argument("--unet", type=Path, metavar="WORK", help="of benchmarks.phantom_unet")
    parser.add_argument("--sam", default="bundled", metavar="NAME|FILE")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    resources = Resources(arguments.sam, arguments.d, arguments.unet)
    failed = 0
    try:
        for case in tqdm(find_cases(arguments.i).cases, "baselines", unit="case"):
            try:
                predict_case(case, arguments.only, arguments.o, resources)
            except ScanError as error:
                failed += 1
                tqdm.write(f"skipped: {error}", file=sys.stderr)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return EXIT_SOME_CASES_FAILED if failed else EXIT_DONE


def _required(folder: Path | None, option: str) -> Path:
    if folder is None:
        raise UserError(
            option, "nothing", "the folder that a selected baseline needs", "add the option"
        )
    return folder


if __name__ == "__main__":
    sys.exit(main())
