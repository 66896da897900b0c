import pytest

from clisc_nnunet.errors import UserError
from clisc_nnunet.inputs.case_filter import choose_cases

KNOWN = ["anna", "berta", "carla"]


def test_all_cases_are_selected_by_default():
    assert choose_cases(KNOWN, (), ()) == set(KNOWN)


def test_names_and_files_are_mixed(tmp_path):
    (tmp_path / "list.txt").write_text("anna  # checked\n\ncarla\n")
    assert choose_cases(KNOWN, ["berta", str(tmp_path / "list.txt")], ["anna"]) == {
        "berta",
        "carla",
    }


@pytest.mark.parametrize(
    ("take", "leave_out", "message"),
    [
        (["ana"], (), "--cases: found unknown case 'ana'.* such as 'anna'"),
        ((), ["dora"], "--leave-out: found unknown case 'dora'"),
        (["anna"], ["anna"], "no case left"),
    ],
)
def test_unknown_names_are_reported(take, leave_out, message):
    with pytest.raises(UserError, match=message):
        choose_cases(KNOWN, take, leave_out)
