"""A label in its place, and the record by which its hand is told."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.finished import SCAN, SHAPE, FinishedCase, block, on_scan, stage_arrays

from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.io.volume import write_volume
from clisc_nnunet.models.model_set import ModelNames
from clisc_nnunet.pipeline.label_step import (
    RECORD,
    finish_case,
    label_task,
    mismatch,
    recorded_outcome,
    written_by_us,
)
from clisc_nnunet.pipeline.model_steps import Bench
from clisc_nnunet.pipeline.result_cache import ResultCache
from clisc_nnunet.settings import PseudoLabelSettings, Settings, SliceSettings

LABEL = block(slice(2, 6), slice(8, 18), slice(10, 22))
CASE = FinishedCase(LABEL, LABEL, LABEL, np.linspace(0, 1, SHAPE[0]), np.arange(SHAPE[0]) // 4)
SETTINGS = Settings(slices=SliceSettings(brain="given"))


@pytest.fixture
def task(tmp_path):
    """Stage 11 of a case whose earlier stages are done."""
    cache = ResultCache(tmp_path / "clisc" / "stages")
    for stage, arrays in stage_arrays(CASE).items():
        if stage == "slices":
            arrays |= {"brain_share": np.array(1.0)}
        if stage == "masks":
            arrays |= {
                "agreement": np.ones(len(arrays["planes"])),
                "second_opinion": np.array(False),
            }
        cache.save("a", stage, "signed", arrays)
    brain = np.zeros(SHAPE, np.float32)
    brain[1:-1, 2:-2, 2:-2] = 1
    write_volume(tmp_path / "scan.nii.gz", on_scan(brain), SCAN)
    signatures = {("a", s): "signed" for s in ("slices", "labels", "raw_regions", "masks")}
    bench = Bench(cache, SETTINGS, ModelNames(), "cpu")
    folders = tmp_path / "labelsTr", tmp_path / "clisc"
    return label_task(bench, "a", "raw", tmp_path / "scan.nii.gz", signatures, *folders)


def test_a_second_opinion_is_told(task):
    cache, case = task.draw.cache, task.draw.case
    masks = {**stage_arrays(CASE)["masks"], "second_opinion": np.array(True)}
    masks |= {"agreement": np.ones(len(masks["planes"]))}
    cache.save(case, "masks", "signed", masks)
    assert "from the whole brain" in finish_case(task)[0].reason


def why(task, **options):
    return mismatch(
        task.draw.cache, task.fingerprint, task.draw, **{"empty_labels": False, **options}
    )


def test_a_label_is_put_in_place_and_remembered(task):
    assert why(task) == ""
    outcome, read = finish_case(task)
    assert (outcome.status, outcome.slices) == ("labelled", SHAPE[0])
    assert outcome.label_ml > 0
    assert read == (str(task.draw.scan),)
    cache, label = task.draw.cache, task.draw.label_file
    assert cache.read_record("a", RECORD)["sha256"] == [file_sha256(label)]
    assert recorded_outcome(cache, "a") == outcome
    assert why(task) is None
    assert not list((cache.root / "a").glob("*.nii.gz"))


def test_a_label_that_is_gone_or_another_is_drawn_again(task):
    finish_case(task)
    task.draw.label_file.write_bytes(b"x")
    assert why(task) == "a file that is gone"
    assert not written_by_us(task.draw.cache, "a", task.draw.label_file)


def test_a_label_that_was_corrected_since_the_run_began_stays(task):
    finish_case(task)
    task.draw.label_file.write_bytes(b"corrected")
    outcome, _ = finish_case(task)
    assert (outcome.case, outcome.status) == ("a", "trusted")
    assert task.draw.label_file.read_bytes() == b"corrected"
    assert not list((task.draw.cache.root / "a").glob("*.nii.gz"))


def test_every_label_that_a_run_ever_wrote_is_known(task):
    finish_case(task)
    first = task.draw.label_file.read_bytes()
    strict = PseudoLabelSettings(min_case_iou=0.99)
    other = replace(
        task,
        draw=replace(task.draw, settings=strict),
        fingerprint=replace(task.fingerprint, settings=strict),
    )
    assert why(other).startswith("settings")
    outcome, _ = finish_case(other)
    assert outcome.status == "empty"
    assert "SAM is not sure" in outcome.reason
    for content in (task.draw.label_file.read_bytes(), first):
        task.draw.label_file.write_bytes(content)
        assert written_by_us(task.draw.cache, "a", task.draw.label_file)
    task.draw.label_file.unlink()
    assert why(other) is None  # a case without a tumour needs none
    assert why(other, empty_labels=True) == "a file that is gone"
