import json
from dataclasses import fields, is_dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clisc_nnunet.errors import UserError
from clisc_nnunet.settings import (
    PRESETS,
    RoiSettings,
    Settings,
    from_json,
    preset,
    read_settings,
    updated,
)


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_survive_json(name):
    assert from_json(preset(name).to_json()) == PRESETS[name]


@given(
    st.floats(0, 1),
    st.booleans(),
    st.lists(st.floats(0, 1), max_size=4).map(tuple),
    st.integers(0, 2**31),
)
def test_any_settings_survive_json(threshold, opening, candidates, seed):
    roi = RoiSettings(threshold=threshold, opening=opening, candidates=candidates)
    settings = replace(Settings(), seed=seed, roi=roi)
    assert from_json(settings.to_json()) == settings


FIELDS = [
    (stage.name, option.name)
    for stage in fields(Settings)
    if is_dataclass(getattr(Settings(), stage.name))
    for option in fields(getattr(Settings(), stage.name))
]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
ANYTHING = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=3), SCALARS)


@given(st.sampled_from(FIELDS), ANYTHING)
def test_any_json_is_read_or_reported(place, value):
    """Any JSON value is either read, and written unchanged, or raises a `UserError`."""
    stage, option = place
    try:
        settings = from_json(json.dumps({stage: {option: value}}))
    except UserError as error:
        assert f"{option} = " in str(error)
    else:
        assert from_json(settings.to_json()) == settings
        assert getattr(getattr(settings, stage), option) == (
            tuple(value) if isinstance(value, list) else value
        )


def test_numbers_and_lists_have_the_types_of_their_fields():
    roi = from_json('{"roi": {"threshold": 1, "candidates": [0, 1]}}').roi
    assert isinstance(roi.threshold, float)
    assert [type(c) for c in roi.candidates] == [float, float]
    assert roi == RoiSettings(threshold=1.0, candidates=(0.0, 1.0))


def test_changing_one_setting_leaves_the_others():
    changed = updated(PRESETS["paper"], {"sam": {"batch": 3}})
    assert changed == replace(PRESETS["paper"], sam=replace(PRESETS["paper"].sam, batch=3))
    assert PRESETS["paper"].sam.batch != 3


def test_missing_keys_have_the_presets_values():
    settings = from_json(json.dumps({"preset": "paper", "roi": {"threshold": 0.3}}))
    assert settings.roi.threshold == 0.3
    assert settings.slices == PRESETS["paper"].slices


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "invalid JSON"),
        ("[]", "expected a JSON object"),
        ('{"preset": "best"}', "expected one of default, paper"),
        ('{"rio": {}}', "unknown key 'rio'"),
        ('{"roi": 3}', "roi = 3; expected an object"),
        ('{"roi": {"opening": 1}}', "opening = 1; expected a value of type bool"),
        ('{"seed": true}', "seed = True; expected a value of type int"),
        ('{"slices": {"scaling": "none"}}', "expected one of volume, slice"),
        ('{"cam": {"candidates": ["layer1", 2]}}', "each item a value of type str"),
        ('{"preset": []}', "expected one of default, paper"),
        ('{"seed": -1}', "seed = -1; expected a value of type int, 0 or more"),
        ('{"seed": 1.0}', "seed = 1.0; expected a value of type int"),
        ('{"sam": {"batch": 0}}', "batch = 0; expected a value of type int, 1 or more"),
        ('{"sam": {"views": ["axial", "oblique"]}}', "each item one of axial, coronal, sagittal"),
        ('{"roi": {"candidates": [0.1, true]}}', "each item a number, 0 to 1"),
        ('{"roi": {"threshold": NaN}}', "threshold = nan; expected a number, 0 to 1"),
        ('{"roi": {"threshold": 1.5}}', "threshold = 1.5"),
        ('{"prompts": {"margin": Infinity}}', "margin = inf"),
        ('{"slices": {"high_percentile": 101}}', "0 to 100"),
    ],
)
def test_mistakes_are_reported(text, message):
    with pytest.raises(UserError, match=message):
        from_json(text)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(UserError, match="settings file"):
        read_settings(tmp_path / "none.json")
