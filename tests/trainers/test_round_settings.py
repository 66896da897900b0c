from dataclasses import fields, replace

import pytest

from clisc_nnunet.errors import UserError
from clisc_nnunet.trainers.round_settings import (
    NO_FILTER,
    PAPER,
    RoundSettings,
    as_plain,
    describe,
    resolve,
    round_epochs,
    settings_to_resume,
)

OTHER = {
    "rounds": ("0.3,0.5", (0.3, 0.5)),
    "keep_ratio": ("0.6", 0.6),
    "judge": ("network", "network"),
    "measure": ("sam", "sam"),
    "components": ("largest", "largest"),
    "looks": ("axial", "axial"),
    "relabel": ("vote", "vote"),
    "min_similarity": ("0.2", 0.2),
    "readmit": ("0", False),
    "restart": ("1", True),
    "mirroring": ("1", True),
    "sam": ("sam_vit_b", "sam_vit_b"),
    "start": ("random", "random"),
    "fine_tuning_rate": ("0.01", 0.01),
    "phantom_share": ("0.5", 0.5),
}


def test_every_setting_is_listed_here():
    assert set(OTHER) == {field.name for field in fields(RoundSettings)}


@pytest.mark.parametrize("name", OTHER)
def test_a_variable_sets_it(name):
    text, value = OTHER[name]
    assert getattr(RoundSettings(), name) != value
    assert getattr(resolve(RoundSettings(), {}, {f"CLISC_{name.upper()}": text}), name) == value


def test_variables_go_above_the_dataset_and_this_above_the_class():
    content = {"clisc": {"trainer": {"keep_ratio": 0.7, "measure": "support"}}}
    settings = resolve(PAPER, content, {"CLISC_KEEP_RATIO": "0.9"})
    assert settings.keep_ratio == 0.9
    assert settings.measure == "support"
    assert settings.looks == "axial"


def test_an_empty_variable_says_nothing():
    content = {"clisc": {"trainer": {"keep_ratio": 0.7}}}
    settings = resolve(RoundSettings(), content, {"CLISC_KEEP_RATIO": "", "CLISC_SAM": ""})
    assert settings == RoundSettings(keep_ratio=0.7)


def test_nothing_said_leaves_the_classs_own_settings_as_they_are():
    content = {"clisc": {"settings": {"preset": "paper"}, "trainer": {}}}
    assert resolve(PAPER, content, {}) == PAPER
    resolve(PAPER, {"clisc": {"trainer": {"restart": False}}}, {"CLISC_ROUNDS": "0.1"})
    assert PAPER.restart and PAPER.rounds == (0.5,)


@pytest.mark.parametrize("content", [{"clisc": None}, {"clisc": {"trainer": None}}])
def test_null_in_dataset_json_says_nothing(content):
    assert resolve(PAPER, content, {}) == PAPER


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", True), ("true", True), ("True", True), ("0", False), ("false", False), ("FALSE", False)],
)
def test_switches_are_read_in_any_spelling(text, value):
    for base in (RoundSettings(readmit=True), RoundSettings(readmit=False)):
        assert resolve(base, {}, {"CLISC_READMIT": text}).readmit is value


def test_the_papers_choices():
    assert PAPER.rounds == (0.5,)
    assert PAPER.keep_ratio == 0.8
    assert PAPER.min_similarity == 0  # the paper's share alone decides
    assert (PAPER.judge, PAPER.components) == ("network", "largest")
    assert (PAPER.measure, PAPER.looks, PAPER.relabel) == ("sam", "axial", "network")
    assert PAPER.restart
    assert round_epochs(NO_FILTER, 1000) == []


def test_no_rounds_at_all_can_be_asked_for():
    for text in ("none", "None"):
        assert resolve(RoundSettings(), {}, {"CLISC_ROUNDS": text}).rounds == ()
    assert resolve(RoundSettings(), {"clisc": {"trainer": {"rounds": []}}}, {}).rounds == ()


def test_variables_of_other_parts_are_left_alone():
    assert resolve(RoundSettings(), {}, {"CLISC_WEIGHTS": "/x", "HOME": "/y"}) == RoundSettings()


@pytest.mark.parametrize(
    ("content", "environment", "message"),
    [
        ({"clisc": {"trainer": {"keep": 0.7}}}, {}, "unknown key 'keep'.*keep_ratio"),
        ({"clisc": {"trainer": {"keep_ratio": 1.5}}}, {}, "dataset.json.*keep_ratio = 1.5.*0 to 1"),
        ({}, {"CLISC_MEASURE": "iou"}, "environment.*measure = 'iou'.*sam, label, support"),
        ({}, {"CLISC_ROUNDS": "half"}, "CLISC_ROUNDS.*'half'.*number"),
        ({}, {"CLISC_ROUNDS": "0.5,2"}, "rounds"),
        ({}, {"CLISC_ROUNDS": "0.5,"}, "CLISC_ROUNDS.*'0.5,'.*numbers"),
        ({}, {"CLISC_KEEP_RATIO": "0,8"}, "CLISC_KEEP_RATIO.*'0,8'.*a number like 0.8"),
        ({}, {"CLISC_KEEP_RATIO": "none"}, "CLISC_KEEP_RATIO.*'none'.*a number like 0.8"),
        ({}, {"CLISC_KEEP_RATIO": "nan"}, "environment.*keep_ratio = nan.*0 to 1"),
        ({}, {"CLISC_KEEP_RATIO": "-0.1"}, "environment.*keep_ratio = -0.1.*0 to 1"),
        ({"clisc": {"trainer": [0.7]}}, {}, r"dataset.json: clisc: trainer: found \[0.7\]"),
        ({"clisc": {"trainer": False}}, {}, "dataset.json.*found False; expected an object"),
        ({"clisc": []}, {}, r"dataset.json.*found \[\]; expected an object"),
        ({"clisc": {"trainer": {"restart": 1}}}, {}, "restart = 1.*type bool"),
        ({"clisc": {"trainer": {"keep_ratio": True}}}, {}, "keep_ratio = True.*a number"),
        ({"clisc": {"trainer": {"rounds": 0.5}}}, {}, "rounds = 0.5.*a list"),
        ({}, {"CLISC_RESTART": "maybe"}, "CLISC_RESTART.*'maybe'.*1, true, 0 or false"),
    ],
)
def test_what_cannot_be_used_is_reported_in_one_line(content, environment, message):
    with pytest.raises(UserError, match=message) as caught:
        resolve(RoundSettings(), content, environment)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rounds", "epochs", "expected"),
    [
        ((0.5,), 1000, [500]),
        ((0.5,), 5, [2]),
        ((0.5,), 2, [1]),
        ((0.5,), 1, []),
        ((0.7,), 5, [4]),  # 3.5 and 2.8 to the nearest, halves to the even
        ((0.7,), 4, [3]),
        ((0.25,), 2, [1]),
        ((0.3, 0.6, 0.9), 2, [1]),
        ((0.9, 0.1, 0.6, 0.3), 1000, [100, 300, 600, 900]),
        ((0.75, 0.25), 8, [2, 6]),
        ((0.5, 0.5001), 1000, [500]),
        ((0.0, 1.0), 10, [1, 9]),
        ((), 1000, []),
    ],
)
def test_rounds_fall_on_epochs_with_one_before_and_one_after(rounds, epochs, expected):
    settings = RoundSettings(rounds=rounds, judge="network")
    assert round_epochs(settings, epochs) == expected


def test_the_phantom_network_can_judge_before_the_first_epoch():
    assert round_epochs(RoundSettings(), 1000) == [0]
    assert round_epochs(RoundSettings(), 1) == [0]
    assert round_epochs(RoundSettings(rounds=(0.0, 0.5, 1.0)), 10) == [0, 5, 9]


def test_the_log_shows_every_value():
    line = describe(RoundSettings())
    assert all(f'"{name}"' in line for name in OTHER)


def test_a_continued_training_uses_the_settings_it_was_started_with():
    old, now = RoundSettings(rounds=(0.4, 0.7), keep_ratio=0.9), RoundSettings(keep_ratio=0.6)
    settings, differences = settings_to_resume(as_plain(old), now, {})
    assert settings == old
    assert differences == (
        "rounds [0.4, 0.7] (now requested: [0.0]), keep_ratio 0.9 (now requested: 0.6)"
    )
    assert settings_to_resume(as_plain(old), old, {}) == (old, "")
    # A checkpoint of a version that knew fewer settings, or noted none, began with random weights.
    for stored in ({"keep_ratio": 0.6}, {}):
        settings, differences = settings_to_resume(stored, now, {})
        assert settings == replace(now, start="random", judge="network", components="largest")
        assert 'start "random" (now requested: "phantoms")' in differences
        assert 'judge "network" (now requested: "phantoms")' in differences
    with pytest.raises(UserError, match="checkpoint: clisc: settings: found unknown key 'soft'"):
        settings_to_resume({"soft": 1}, now, {})


@pytest.mark.parametrize(
    ("old", "asked", "variable", "sam", "differences"),
    [
        ("/old/mine.pth", "/new/mine.pth", True, "/new/mine.pth", ""),
        ("/old/mine.pth", "/new/mine.pth", False, "/new/mine.pth", ""),
        ("medsam=/old/m.pth", "medsam=/new/m.pth", True, "medsam=/new/m.pth", ""),
        ("sam_vit_b", "", False, "sam_vit_b", 'sam "sam_vit_b" (now requested: "")'),
        ("sam_vit_b", "x", False, "sam_vit_b", 'sam "sam_vit_b" (now requested: "x")'),
        # Where the one that drew the labels lies by now, which only the variable can tell.
        ("", "/new/mine.pth", True, "/new/mine.pth", 'but sam "/new/mine.pth" (before: "")'),
    ],
)
def test_sam_is_the_one_of_the_start_unless_a_variable_names_it(
    old, asked, variable, sam, differences
):
    stored, environment = as_plain(RoundSettings(sam=old)), {"CLISC_SAM": asked if variable else ""}
    found = settings_to_resume(stored, RoundSettings(sam=asked), environment)
    assert found == (RoundSettings(sam=sam), differences)


def test_what_travels_with_a_model_has_no_folder_of_its_maker():
    assert as_plain(RoundSettings(sam="/home/someone/sam.pth"))["sam"] == "sam.pth"
    medsam = RoundSettings(sam="medsam=/home/someone/medsam_vit_b.pth")
    assert as_plain(medsam)["sam"] == "medsam=medsam_vit_b.pth"
    assert as_plain(RoundSettings())["sam"] == ""
