"""Output of a dry run; scans are empty files, since none is opened."""

from pathlib import Path

import numpy as np
import pytest

from clisc_nnunet.dataset_conversion.dry_run import MB_PER_CASE, plan
from clisc_nnunet.dataset_conversion.options import ConversionOptions
from clisc_nnunet.errors import UserError
from clisc_nnunet.pipeline.result_cache import ResultCache


@pytest.fixture
def request_of(tmp_path):
    for name in ("a.nii.gz", "b.mha", "notes.txt"):
        (tmp_path / "scans").mkdir(exist_ok=True)
        (tmp_path / "scans" / name).touch()

    def make(**options):
        return ConversionOptions(tmp_path / "scans", 501, root=tmp_path / "raw", **options)

    return make


def test_cases_disk_and_what_is_left_out_are_reported(request_of, tmp_path):
    text = plan(request_of())
    assert "flat folder of 2 cases" in text
    assert f"  a: {tmp_path / 'scans' / 'a.nii.gz'}" in text
    assert "notes.txt (not a scan, by its ending)" in text
    assert "Dataset501_CLISC: new" in text
    # A scan in nnU-Net's format is linked, others are converted.
    assert f"about {2 * MB_PER_CASE:.0f} MB" in text and "1 scans copied" in text
    assert not (tmp_path / "raw").exists()


def test_what_is_done_and_who_failed_is_reported(request_of, tmp_path):
    cache = ResultCache(tmp_path / "raw" / "Dataset501_CLISC" / "clisc" / "stages")
    cache.save("a", "slices", "signed", {"values": np.arange(2)})
    cache.write_record("b", "failure", {"stage": "slices", "reason": "b.mha: found x"})
    before = sorted(Path(tmp_path).rglob("*"))
    text = plan(request_of(resume=True))
    assert "  slices: 1 of 2 cases" in text
    assert "  skipped: b.mha: found x" in text
    assert sorted(Path(tmp_path).rglob("*")) == before


def test_phantoms_are_reported(request_of):
    assert "phantoms:" not in plan(request_of())
    assert "phantoms: 4 (now 0)" in plan(request_of(add_phantoms=4))
    with pytest.raises(UserError, match="--add-phantoms: found -4"):
        plan(request_of(add_phantoms=-4))


def test_what_the_call_would_refuse_is_refused(request_of, tmp_path):
    (tmp_path / "raw" / "Dataset501_CLISC" / "clisc").mkdir(parents=True)
    with pytest.raises(UserError, match="use --continue"):
        plan(request_of())
    with pytest.raises(UserError, match="-np: found 0"):
        plan(request_of(processes=0, resume=True))
