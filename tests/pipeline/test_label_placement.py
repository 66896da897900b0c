"""The record of a label, by which manual edits are detected."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.cases import make_config
from helpers.finished import SCAN, SHAPE, FinishedCase, block, on_scan, stage_arrays

from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.io.volume import write_volume
from clisc_nnunet.pipeline.case_tracker import CaseTracker
from clisc_nnunet.pipeline.config import CaseInput
from clisc_nnunet.pipeline.label_placement import RECORD, recorded_outcome, written_by_us
from clisc_nnunet.pipeline.label_step import label_step
from clisc_nnunet.pipeline.result_cache import ResultCache
from clisc_nnunet.pipeline.run_step import run_step
from clisc_nnunet.processes import local_pool
from clisc_nnunet.settings import PseudoLabelSettings, SliceSettings

LABEL = block(slice(2, 6), slice(8, 18), slice(10, 22))
CASE = FinishedCase(LABEL, LABEL, LABEL, np.linspace(0, 1, SHAPE[0]), np.arange(SHAPE[0]) // 4)
GIVEN = SliceSettings(brain="given")
INPUTS = ("slices", "labels", "raw_regions", "masks")


class Stage11:
    """Stage 11 of a case with cached results of the earlier stages."""

    def __init__(self, folder):
        self.cache = ResultCache(folder / "clisc" / "stages")
        for stage, arrays in stage_arrays(CASE).items():
            if stage == "slices":
                arrays |= {"brain_share": np.array(1.0)}
            if stage == "masks":
                arrays |= {
                    "agreement": np.ones(len(arrays["planes"])),
                    "second_opinion": np.array(False),
                }
            self.cache.save("a", stage, "signed", arrays)
        brain = np.zeros(SHAPE, np.float32)
        brain[1:-1, 2:-2, 2:-2] = np.linspace(1, 2, SHAPE[2] - 4)
        write_volume(folder / "scan.nii.gz", on_scan(brain), SCAN)
        self.case = CaseInput("a", folder / "scan.nii.gz")
        self.config = make_config(self.cache, GIVEN)
        self.label = self.config.dataset.label("a")
        self.notes = []

    def run(self, *, failing=False, **changes):
        """Outcome, or None if there is no new one; messages go into `notes` and `failures`."""
        tracker = CaseTracker(self.cache, cases=["a"])
        tracker.signatures |= {("a", stage): "signed" for stage in INPUTS}
        config = replace(self.config, **changes)
        with local_pool(1) as pool:
            done = run_step(label_step("raw"), [self.case], config, tracker, pool)
        assert bool(tracker.failures) is failing
        self.failures = tracker.failures
        self.notes, self.read = tracker.notes, [out.files_read for out in done.values()]
        return done["a"].value if done else None

    def strict(self):
        """Settings by which SAM's predicted IoU is too low for a label."""
        return replace(self.config.settings, pseudo_label=PseudoLabelSettings(min_case_iou=0.99))


@pytest.fixture
def stage(tmp_path):
    return Stage11(tmp_path)


def test_masks_from_the_whole_brain_are_mentioned(stage):
    masks = {**stage_arrays(CASE)["masks"], "second_opinion": np.array(True)}
    masks |= {"agreement": np.ones(len(masks["planes"]))}
    stage.cache.save("a", "masks", "signed", masks)
    assert "prompted by the whole brain" in stage.run().reason


def test_a_label_is_placed_and_recorded(stage):
    outcome = stage.run()
    assert (outcome.status, outcome.slices) == ("labelled", SHAPE[0])
    assert outcome.label_ml > 0
    assert stage.read == [(str(stage.case.scan),)]
    assert stage.cache.read_record("a", RECORD)["sha256"] == [file_sha256(stage.label)]
    assert recorded_outcome(stage.cache, "a") == outcome
    assert stage.run() is None
    assert not list((stage.cache.root / "a").glob("*.nii.gz"))


def test_a_label_that_a_person_has_edited_is_not_ours_and_stays(stage):
    stage.run()
    stage.label.write_bytes(b"corrected")
    assert not written_by_us(stage.cache, "a", stage.label)
    outcome = stage.run()
    assert "a missing file" in stage.notes[0]
    assert (outcome.case, outcome.status) == ("a", "trusted")
    assert stage.label.read_bytes() == b"corrected"
    assert not list((stage.cache.root / "a").glob("*.nii.gz"))


def test_an_unknown_label_is_neither_replaced_nor_taken_for_a_persons(stage):
    stage.run()
    stage.cache.forget_record("a", RECORD)
    before = stage.label.read_bytes()
    assert stage.run(failing=True) is None
    assert "label.json is missing or empty" in stage.failures["a"]
    assert stage.label.read_bytes() == before
    assert not stage.cache.read_record("a", RECORD)
    assert not list((stage.cache.root / "a").glob("*.nii.gz"))


def test_every_label_that_a_run_ever_wrote_is_known(stage):
    stage.run()
    first = stage.label.read_bytes()
    outcome = stage.run(settings=stage.strict())
    assert "settings min_case_iou" in stage.notes[0]
    assert outcome.status == "empty"
    assert "predicted IoU" in outcome.reason
    for content in (stage.label.read_bytes(), first):
        stage.label.write_bytes(content)
        assert written_by_us(stage.cache, "a", stage.label)
    stage.label.unlink()
    assert stage.run(settings=stage.strict()) is None  # a case without a tumour needs none
    again = stage.run(settings=stage.strict(), empty_labels=True)
    assert again.status == "empty" and "a missing file" in stage.notes[0]
