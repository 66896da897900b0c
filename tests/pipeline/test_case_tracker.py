"""Reuse, failures, skipping and retries of cases; the jobs are stand-ins."""

from functools import partial

import numpy as np
import pytest

from clisc_nnunet.errors import ScanError, StorageError, UserError
from clisc_nnunet.pipeline.case_tracker import FAILURE, RETRIED, CaseTracker
from clisc_nnunet.pipeline.result_cache import Fingerprint, ResultCache
from clisc_nnunet.processes import local_pool


def make(cache, case, fingerprint, error=None):
    if error is not None:
        raise error
    cache.save(case, "slices", fingerprint, {"values": np.arange(2)})
    return "made"


def mismatch_of(cache, case, fingerprint):
    return cache.mismatch(case, "slices", fingerprint)


@pytest.fixture
def run(tmp_path):
    """Function that runs stage `slices` for cases a and b; returns tracker and results."""

    def go(error=None, settings="s", **options):
        cache = ResultCache(tmp_path)
        tracker = CaseTracker(cache, cases=["a", "b"], **options)
        jobs = {}
        for case in ("a", "b"):
            fingerprint = Fingerprint(case, settings)
            wrong = error if case == "b" else None
            jobs[case] = fingerprint, partial(make, cache, case, fingerprint, wrong)
        with local_pool(1) as pool:
            mismatch = partial(mismatch_of, cache)
            return tracker, tracker.run("slices", "slices", pool, jobs, mismatch)

    return go


def test_what_matches_is_kept_and_what_does_not_is_reported(run):
    tracker, made = run()
    assert (made, tracker.notes) == ({"a": "made", "b": "made"}, [])
    tracker, made = run()
    assert (made, tracker.notes) == ({}, ["slices: 2 of 2 kept"])
    tracker, made = run(settings="t")
    assert len(made) == 2
    expected = 'slices: 0 of 2 kept; 2 made again (settings "t", before "s")'
    assert tracker.notes == [expected]


def test_a_failed_case_is_skipped_and_not_tried_again(run):
    tracker, made = run(ValueError("a bug\nof two lines"))
    assert made == {"a": "made"}
    assert tracker.cases == ["a"]
    assert tracker.failures == {"b": "b: slices failed: ValueError: a bug"}
    assert "Traceback" in tracker.cache.read_record("b", FAILURE)["traceback"]
    tracker, made = run()  # would succeed now
    assert (made, tracker.cases) == ({}, ["a"])
    assert tracker.failures == {"b": "b: slices failed: ValueError: a bug"}


def test_without_a_case_a_run_ends_with_the_first_reason(run):
    tracker, _ = run()
    tracker.require_a_case()
    for case in "ab":
        tracker.skip(case, f"{case}.nii: cut")
    with pytest.raises(UserError, match=r"no usable scan among 2 \(a.nii: cut\)"):
        tracker.require_a_case()


def test_a_retried_case_is_marked(run):
    run(ScanError("b.nii", "x", "y", "z"))
    tracker, made = run(retry=True)
    assert (made, tracker.cases) == ({"b": "made"}, ["a", "b"])
    assert tracker.cache.read_record("b", FAILURE) == {}
    assert tracker.cache.read_record("b", RETRIED) == {"stage": "slices"}
    assert tracker.never_skipped("slices") == ["a"]
    tracker.clear_retry_marks()
    assert tracker.never_skipped("slices") == ["a", "b"]


def test_retried_with_another_scan_it_is_marked_too(run):
    run(ScanError("b.nii", "x", "y", "z"))
    tracker, made = run(settings="t", retry=True)
    assert sorted(made) == ["a", "b"]
    assert tracker.never_skipped("labels") == ["a"]


def test_a_scan_that_could_not_be_opened_is_tried_whenever_it_can(run):
    tracker, _ = run()
    tracker.refuse("b", "no permission")
    assert (tracker.cases, tracker.failures) == (["a"], {"b": "no permission"})
    tracker, _ = run()
    assert (tracker.cases, tracker.failures) == (["a", "b"], {})


def test_with_other_settings_it_is_tried_again(run):
    run(ScanError("b.nii", "x", "y", "z"))
    tracker, made = run(settings="t")
    assert (sorted(made), tracker.failures) == (["a", "b"], {})


def test_a_mark_concerns_the_stage_and_later_ones(run):
    tracker, _ = run()
    tracker.cache.write_record("b", RETRIED, {"stage": "raw_regions"})
    assert tracker.never_skipped("labels") == ["a", "b"]
    assert tracker.never_skipped("raw_regions") == ["a"]


def test_a_full_disk_is_no_cases_failure(run):
    with pytest.raises(StorageError):
        run(StorageError("b", "no space", "room", "make room"))
    tracker, made = run()
    assert (made, tracker.failures) == ({"b": "made"}, {})
