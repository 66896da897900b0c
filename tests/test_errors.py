import pickle

import pytest

from clisc_nnunet.errors import NoTumourError, ScanError, UserError, WeightsError, named


@pytest.mark.parametrize(
    ("kind", "status"), [(UserError, 2), (ScanError, 2), (WeightsError, 2), (NoTumourError, 4)]
)
def test_an_error_is_one_line_and_can_be_pickled(tmp_path, kind, status):
    error = kind(tmp_path / "a.nii", "3 bytes", "a scan", "copy it again")
    assert str(error) == f"{tmp_path}/a.nii: found 3 bytes; expected a scan; copy it again"
    assert error.exit_status == status
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert (again.where, again.found) == (error.where, error.found)
    assert (again.expected, again.hint) == (error.expected, error.hint)


def test_unprintable_names_are_escaped():
    error = UserError("a\nb\udcff.nii", "脑 \t", "z", "w")
    assert error.where == r"a\nb\udcff.nii" and error.found == r"脑 \t"
    assert str(error).encode("utf-8")


def test_long_lists_of_names_are_abbreviated():
    assert named("abc") == "a, b, c"
    assert named("abcdefg") == "a, b, c, d, e and 2 more"
