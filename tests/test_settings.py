import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clisc_nnunet.errors import UserError
from clisc_nnunet.settings import PRESETS, RoiSettings, Settings, from_json, preset, read_settings


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


def test_what_a_file_leaves_out_is_the_presets():
    settings = from_json(json.dumps({"preset": "paper", "roi": {"threshold": 0.3}}))
    assert settings.roi.threshold == 0.3
    assert settings.slices == PRESETS["paper"].slices


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "no valid JSON"),
        ("[]", "expected a JSON object"),
        ('{"preset": "best"}', "expected one of default, paper"),
        ('{"rio": {}}', "unknown key 'rio'"),
        ('{"roi": 3}', "roi = 3; expected an object"),
        ('{"roi": {"opening": 1}}', "opening = 1; expected a value of type bool"),
        ('{"seed": true}', "seed = True; expected a value of type int"),
        ('{"slices": {"scaling": "none"}}', "expected one of volume, slice"),
        ('{"cam": {"candidates": ["layer1", 2]}}', "expected a list of str"),
    ],
)
def test_mistakes_are_told(text, message):
    with pytest.raises(UserError, match=message):
        from_json(text)


def test_an_absent_file_is_told(tmp_path):
    with pytest.raises(UserError, match="settings file"):
        read_settings(tmp_path / "none.json")
