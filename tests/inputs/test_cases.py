from pathlib import Path

import pytest

from clisc_nnunet.inputs.cases import FoundScan, assign_label_channel, group
from clisc_nnunet.inputs.channels import Channel
from clisc_nnunet.io.dicom_series import Series

FLAIR = (Channel("flair"),)


def series(*modalities):
    return [
        FoundScan("a", modality, Series(Path("a"), (), str(uid)))
        for uid, modality in enumerate(modalities)
    ]


def files(*modalities):
    return [FoundScan("a", modality, Path(f"{n}.nii.gz")) for n, modality in enumerate(modalities)]


@pytest.mark.parametrize(
    ("scans", "expected"),
    [
        (series(""), ["flair"]),
        (series("", ""), ["flair", "flair"]),
        (series("flair", "", "t1"), ["flair", "", "t1"]),
        (series("t1", ""), ["t1", ""]),
        (files("", "t1"), ["flair", "t1"]),
        (files("", "flair"), ["flair", "flair"]),
    ],
)
def test_scans_of_unknown_modality_become_the_label_channel(scans, expected):
    assert [scan.modality for scan in assign_label_channel(scans, FLAIR, "flair")] == expected


def test_other_cases_do_not_matter():
    other = FoundScan("b", "t1", Series(Path("b"), (), "9"))
    taken = assign_label_channel([*series(""), other], FLAIR, "flair")
    assert [scan.modality for scan in taken] == ["flair", "t1"]


@pytest.mark.parametrize("channels", [(Channel("flair", "space"),), (*FLAIR, Channel("t1"))])
def test_nothing_is_assumed_with_several_channels(channels):
    scans = [*series(""), *files("")]
    assert assign_label_channel(scans, channels, "flair") == scans


@pytest.mark.parametrize("name", ["Patient #12", "a_seg", "", "a\nb"])
def test_cases_with_invalid_names_are_skipped(name):
    """In trusted.txt, `Patient #12` would be read as `Patient`, which may be another case."""
    scans = [FoundScan(case, "flair", Path(f"{case}/flair.nii.gz")) for case in (name, "Patient")]
    cases, faults = group(scans, FLAIR, "flair", Path())
    assert [case.name for case in cases] == ["Patient"]
    assert list(faults) == [name]
    assert f"the case name {name!r}" in faults[name].found
    assert "without #" in faults[name].expected
