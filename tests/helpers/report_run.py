"""A run with cases of every status, and its page."""

from dataclasses import replace
from pathlib import Path

from clisc_nnunet.dataset_layout import DatasetLayout
from clisc_nnunet.pipeline.case_result import CaseOutcome
from clisc_nnunet.report.run_report import write_report
from clisc_nnunet.settings import RoiSettings, Settings
from helpers.finished import CASE, EMPTY, FinishedRun

# Characters allowed by file systems; an injected script would change the title.
NASTY = """<img src=x onerror="document.title='run'"></script> & 'a' "b" {{ 7*7 }} \\ 脑"""
RECORD = {
    "command": "clisc_make_pseudo_dataset -i 'my scans' && <b>",
    "clisc_nnunet": "1.2",
    "machine": "Linux, cpu",
    "versions": {"torch": "2.10"},
    "models": {"sam": {"name": "bundled", "sha256": "f00d" * 16}},
    "seconds": {"slices": 2.0, "SAM": 30.0, "total": 33.0},
}


def labelled(case, iou, agreement, ml=2.0):
    reason = "SAM drew on 4 slices"
    return CaseOutcome(
        case, "labelled", reason, label_ml=ml, predicted_iou=iou, agreement=agreement
    )


OUTCOMES = [
    labelled("sure", 0.9, 0.9, 40.0),
    labelled(NASTY, 0.8, 0.8, 7.0),
    labelled("unsure", 0.6, 0.6, 90.0),
    CaseOutcome("none", "empty", "no region of interest is left"),
    CaseOutcome("broken", "failed", "/scans/broken.nii.gz: found 4D; expected 3D"),
]
ORDER = ["broken", "none", "unsure", NASTY, "sure"]
RUN = FinishedRun(
    {
        **dict.fromkeys(["sure", NASTY, "unsure"], CASE),
        "none": replace(CASE, enhanced=EMPTY, label=EMPTY),
    },
    Settings(roi=RoiSettings(threshold=0.3)),
)


def write_page(folder: Path) -> Path:
    """The page of the run's dataset in this folder."""
    dataset = DatasetLayout(folder / "Dataset501_CLISC")
    write_report(RUN, OUTCOMES, RECORD, dataset)
    return dataset.report_html


def write_page_with_lists(dataset, trusted="", exclude=""):
    """The page of a run over a dataset with these lists; the label of case `sure` was corrected."""
    dataset.clisc.mkdir(exist_ok=True)
    dataset.trusted_txt.write_text(trusted, encoding="utf-8")
    dataset.exclude_txt.write_text(exclude, encoding="utf-8")
    corrected = CaseOutcome("sure", "trusted", "label corrected by a person")
    write_report(RUN, [corrected, *OUTCOMES[1:]], RECORD, dataset)


LISTS = "unsure  # seen on Monday\nsure\nelsewhere\n", f"{NASTY}\n"
