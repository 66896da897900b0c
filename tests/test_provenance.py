"""What is told of two records that differ."""

from clisc_nnunet.provenance import differences


def test_equal_records_differ_in_nothing():
    assert differences({"zoom": [0.8, 1.3]}, {"zoom": (0.8, 1.3)}) == ("", "")


def test_values_that_differ_are_reported():
    there = {"seed": 0, "rate": 0.1, "old": None}
    assert differences(there, {"seed": 1, "rate": 0.1, "new": 2}) == (
        "seed 0, new not noted, old null",
        "seed 1, new 2, old not noted",
    )


def test_long_lists_of_files_are_reported_apart_in_short():
    one, other = ({f"{k}.nii.gz": f"{n}" * 64 for k in range(30)} for n in (1, 2))
    there, wanted = differences({"anatomies": one}, {"anatomies": other})
    assert there != wanted
    assert there.startswith("anatomies of 30 files (")
    assert len(there) < 50
