"""What is kept, made, set aside and tried again; the work is a stand-in."""

from functools import partial

import numpy as np
import pytest

from clisc_nnunet.errors import ScanError, StorageError, UserError
from clisc_nnunet.pipeline.case_tracker import FAILURE, LATE, Ledger
from clisc_nnunet.pipeline.result_cache import Recipe, Store
from clisc_nnunet.processes import local_crew


def make(store, case, recipe, error=None):
    if error is not None:
        raise error
    store.save(case, "slices", recipe, {"values": np.arange(2)})
    return "made"


@pytest.fixture
def run(tmp_path):
    """Run stage `slices` for cases a and b; b may fail. Ledger and results."""

    def go(error=None, settings="s", **options):
        store = Store(tmp_path)
        ledger = Ledger(store, cases=["a", "b"], **options)
        jobs = {}
        for case in ("a", "b"):
            recipe = Recipe(case, settings)
            wrong = error if case == "b" else None
            jobs[case] = recipe, partial(make, store, case, recipe, wrong)
        with local_crew(1) as crew:
            return ledger, ledger.run("slices", "slices", crew, jobs)

    return go


def test_what_matches_is_kept_and_what_does_not_is_told(run):
    ledger, made = run()
    assert (made, ledger.notes) == ({"a": "made", "b": "made"}, [])
    ledger, made = run()
    assert (made, ledger.notes) == ({}, ["slices: 2 of 2 kept"])
    ledger, made = run(settings="t")
    assert len(made) == 2
    expected = 'slices: 0 of 2 kept; 2 made again (settings "t", before "s")'
    assert ledger.notes == [expected]


def test_a_failed_case_is_set_aside_and_not_tried_again(run):
    ledger, made = run(ValueError("a bug\nof two lines"))
    assert made == {"a": "made"}
    assert ledger.cases == ["a"]
    assert ledger.failures == {"b": "b: slices failed: ValueError: a bug"}
    assert "Traceback" in ledger.store.read_record("b", FAILURE)["traceback"]
    ledger, made = run()  # would succeed now
    assert (made, ledger.cases) == ({}, ["a"])
    assert ledger.failures == {"b": "b: slices failed: ValueError: a bug"}


def test_without_a_case_a_run_ends_with_the_first_reason(run):
    ledger, _ = run()
    ledger.require_a_case()
    for case in "ab":
        ledger.set_aside(case, f"{case}.nii: cut")
    with pytest.raises(UserError, match=r"no usable scan among 2 \(a.nii: cut\)"):
        ledger.require_a_case()


def test_retried_it_comes_in_late(run):
    run(ScanError("b.nii", "x", "y", "z"))
    ledger, made = run(retry=True)
    assert (made, ledger.cases) == ({"b": "made"}, ["a", "b"])
    assert ledger.store.read_record("b", FAILURE) == {}
    assert ledger.store.read_record("b", LATE) == {"stage": "slices"}
    assert ledger.on_time("slices") == ["a"]
    ledger.forget_latecomers()
    assert ledger.on_time("slices") == ["a", "b"]


def test_retried_with_another_scan_it_is_late_all_the_same(run):
    run(ScanError("b.nii", "x", "y", "z"))
    ledger, made = run(settings="t", retry=True)
    assert sorted(made) == ["a", "b"]
    assert ledger.on_time("labels") == ["a"]


def test_a_scan_that_could_not_be_opened_is_tried_whenever_it_can(run):
    ledger, _ = run()
    ledger.refuse("b", "no permission")
    assert (ledger.cases, ledger.failures) == (["a"], {"b": "no permission"})
    ledger, _ = run()
    assert (ledger.cases, ledger.failures) == (["a", "b"], {})


def test_with_other_settings_it_is_tried_again(run):
    run(ScanError("b.nii", "x", "y", "z"))
    ledger, made = run(settings="t")
    assert (sorted(made), ledger.failures) == (["a", "b"], {})


def test_who_is_late_at_a_later_stage_was_on_time_before(run):
    ledger, _ = run()
    ledger.store.write_record("b", LATE, {"stage": "raw_regions"})
    assert ledger.on_time("labels") == ["a", "b"]
    assert ledger.on_time("raw_regions") == ["a"]


def test_a_full_disk_is_nobodys_failure(run):
    with pytest.raises(StorageError):
        run(StorageError("b", "no space", "room", "make room"))
    ledger, made = run()
    assert (made, ledger.failures) == ({"b": "made"}, {})
