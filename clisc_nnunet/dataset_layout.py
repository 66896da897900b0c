"""Paths inside a dataset written by this software, and the case lists that users keep there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clisc_nnunet.errors import UserError

FILE_ENDING = ".nii.gz"
# Our folder in a dataset, by which datasets of this software are recognised.
CLISC_FOLDER = "clisc"
# Lists in that folder: cases whose label was checked or corrected by a person, and cases to leave
# out of training.
TRUSTED_FILE, EXCLUDE_FILE = "trusted.txt", "exclude.txt"
# List of the phantoms in the dataset, written by the conversion; also in dataset.json, within the
# key of the folder's name.
PHANTOMS_FILE, PHANTOMS_KEY = "phantoms.txt", "phantoms"


@dataclass(frozen=True)
class DatasetLayout:
    """Paths inside an nnU-Net raw dataset such as `Dataset501_CLISC`; no file is opened.

    Parameters
    ----------
    folder : Path
        The dataset.
    """

    folder: Path

    @property
    def dataset_json(self) -> Path:
        """Description of the dataset for nnU-Net."""
        return self.folder / "dataset.json"

    @property
    def images(self) -> Path:
        """Scans, as `CASE_0000.nii.gz`."""
        return self.folder / "imagesTr"

    @property
    def labels(self) -> Path:
        """Pseudo-labels and corrected labels, as `CASE.nii.gz`."""
        return self.folder / "labelsTr"

    def image(self, case: str, channel: int = 0) -> Path:
        """Scan of a case in one channel."""
        return self.images / f"{case}_{channel:04d}{FILE_ENDING}"

    def label(self, case: str) -> Path:
        """Label of a case."""
        return self.labels / f"{case}{FILE_ENDING}"

    @property
    def clisc(self) -> Path:
        """Folder with everything that nnU-Net does not read."""
        return self.folder / CLISC_FOLDER

    @property
    def stages(self) -> Path:
        """Results of the stages, one folder per case: the root of a `ResultCache`."""
        return self.clisc / "stages"

    def cam(self, case: str) -> Path:
        """Class activation map on the grid of the scan, for viewing."""
        return self.clisc / "cam" / f"{case}{FILE_ENDING}"

    def roi(self, case: str) -> Path:
        """Region of interest on the grid of the scan, for viewing."""
        return self.clisc / "roi" / f"{case}{FILE_ENDING}"

    @property
    def cases_csv(self) -> Path:
        """Outcome of each case."""
        return self.clisc / "cases.csv"

    @property
    def slice_labels_csv(self) -> Path:
        """Slice labels."""
        return self.clisc / "slice_labels.csv"

    @property
    def settings_json(self) -> Path:
        """Settings of the run."""
        return self.clisc / "settings.json"

    @property
    def run_json(self) -> Path:
        """Record of the run."""
        return self.clisc / "run.json"

    @property
    def report_html(self) -> Path:
        """Report of the run."""
        return self.clisc / "report.html"

    @property
    def overview_png(self) -> Path:
        """Overview figure of all cases."""
        return self.clisc / "overview.png"

    @property
    def sidecars(self) -> Path:
        """Provenance of each label, as BIDS sidecars."""
        return self.clisc / "sidecars"

    @property
    def replaced_labels(self) -> Path:
        """Labels that corrected ones have replaced, each under its hash."""
        return self.clisc / "replaced_labels"

    @property
    def trusted_txt(self) -> Path:
        """List of cases whose labels a person has checked."""
        return self.clisc / TRUSTED_FILE

    @property
    def exclude_txt(self) -> Path:
        """List of cases to leave out of training."""
        return self.clisc / EXCLUDE_FILE

    @property
    def phantoms_txt(self) -> Path:
        """List of the cases that are phantoms."""
        return self.clisc / PHANTOMS_FILE

    @property
    def phantoms(self) -> Path:
        """Records of the phantoms, and those not yet placed in the dataset."""
        return self.clisc / "phantoms"


def phantoms_beside(folder: Path) -> frozenset[str]:
    """Phantoms of the dataset whose `imagesTr` or `labelsTr` this is; none for other folders.

    Raises
    ------
    UserError
        If the list of phantoms is not a text file.
    """
    folder = folder.absolute()
    dataset = DatasetLayout(folder.parent)
    if folder not in (dataset.images, dataset.labels):
        return frozenset()
    return frozenset(read_names(dataset.phantoms_txt))


def read_names(path: Path) -> dict[str, str]:
    """Names in a list of cases, in its order, each with its complete line; none without a file.

    One name per line; `#` starts a comment.

    Raises
    ------
    UserError
        If the file is not a text file.
    """
    if not path.is_file():
        return {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, str(error), "a text file with one case per line", "fix it") from None
    names = {line.split("#")[0].strip(): line.strip() for line in lines}
    names.pop("", None)
    return names
