import pytest

from clisc_nnunet.errors import UserError
from clisc_nnunet.inputs.channels import (
    Channel,
    chosen_channels,
    modality_named,
    modality_of_series,
    nnunet_numbers,
    parse_channels,
    split_ending,
)


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("a_flair", ("a", "flair")),
        ("a-t2f", ("a", "flair")),
        ("a_T2_FLAIR", ("a", "flair")),
        ("a_t1ce", ("a", "t1ce")),
        ("a-t1c", ("a", "t1ce")),
        ("a-t1n", ("a", "t1")),
        ("a_T2w", ("a", "t2")),
        ("patient1", ("patient1", "")),
        ("a_flair_brain", ("a_flair_brain", "")),
    ],
)
def test_case_and_modality_from_suffixes(stem, expected):
    assert split_ending(stem, parse_channels(["flair"])) == expected


def test_a_given_ending_takes_precedence_over_the_known_ones():
    channels = parse_channels(["flair=space", "asl"])
    assert split_ending("a_SPACE", channels) == ("a", "flair")
    assert split_ending("a_flair", channels) == ("a_flair", "")
    assert split_ending("a_asl", channels) == ("a", "asl")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sag T2 FLAIR", "flair"),
        ("t1_mprage post Gd", "t1ce"),
        ("AX T1 SE", "t1"),
        ("T2 TSE", "t2"),
        ("localizer", "other"),
        ("AX T1 FLAIR", "t1"),
        ("t2_tirm_tra_dark-fluid", "flair"),
        ("T1 SE +C", "t1ce"),
        ("t2_space_dark-fluid_sag_p2_iso", "flair"),
        ("something else", ""),
    ],
)
def test_descriptions_of_series(text, expected):
    assert modality_of_series(text, (Channel("flair"),)) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [(["t1", "t1"], "t1 twice"), (["ct"], "'ct'"), (["a b"], "'a b'"), (["=x"], "''")],
)
def test_wrong_channels_are_reported(words, message):
    with pytest.raises(UserError, match=message):
        parse_channels(words)


def test_channel_names_for_nnunet():
    shown = [c.displayed for c in parse_channels(["FLAIR", "t1", "t1ce", "t2"])]
    assert shown == ["FLAIR", "T1", "T1ce", "T2"]


def test_channel_numbers_from_dataset_json():
    channels = parse_channels(["flair", "t1ce", "t2", "asl"])
    assert [modality_named(c.displayed) for c in channels] == [c.name for c in channels]
    assert nnunet_numbers({"0": "FLAIR", "1": "ASL"}) == {"flair": "0000", "asl": "0001"}


def test_the_label_channel_is_chosen_by_default():
    assert chosen_channels((), "t2") == (Channel("t2"),)
    with pytest.raises(UserError, match=r"t2, which is not in --channels; .* add it"):
        chosen_channels(("flair", "t1"), "t2")
