import argparse

import pytest

from benchmarks.resumable import add_minutes, check_same_settings, until_deadline
from clisc_nnunet.errors import UserError


def test_nothing_is_begun_after_the_time():
    now = [0.0]
    begun = []
    for piece in until_deadline("abcd", 2, clock=lambda: now[0]):
        begun.append(piece)
        now[0] += 50
    assert begun == ["a", "b", "c"]  # the third was begun at 100 s


def test_no_time_no_work_and_no_limit_all_of_it():
    parser = argparse.ArgumentParser()
    add_minutes(parser)
    assert list(until_deadline("abc", 0)) == []
    assert list(until_deadline("abc", parser.parse_args([]).minutes)) == ["a", "b", "c"]
    assert parser.parse_args(["--minutes", "7"]).minutes == 7


def test_another_call_for_the_same_folder_is_refused(tmp_path):
    record = tmp_path / "call.json"
    check_same_settings(record, epochs=12, seed=0)
    check_same_settings(record, epochs=12, seed=0)
    with pytest.raises(UserError, match="found epochs 12; expected epochs 24"):
        check_same_settings(record, epochs=24, seed=0)
