import json
from dataclasses import replace

import pytest
import torch

from clisc_nnunet.errors import UserError
from clisc_nnunet.models.sam import load_sam
from clisc_nnunet.s3f.dataset_sam import (
    is_pseudo_label_sam,
    label_channel,
    load_dataset_sam,
    pipeline_settings,
)
from clisc_nnunet.settings import PRESETS, Settings

CPU = torch.device("cpu")


def test_sam_sees_the_slices_that_the_labels_were_drawn_on():
    content = {"clisc": {"settings": {"slices": {"plane_mm": 7.0}, "prompts": {"margin": 9}}}}
    dataset_sam = load_dataset_sam(content, "", "all", CPU)
    assert dataset_sam.slices.plane_mm == 7.0
    assert dataset_sam.segmenter.prompts.margin == 0
    assert dataset_sam.sam.name == "bundled"


def test_the_passes_are_the_requested_ones():
    everything, axial = (
        load_dataset_sam({}, "", looks, CPU).segmenter for looks in ("all", "axial")
    )
    assert everything.settings == Settings().sam
    assert axial.settings.views == ("axial",) and axial.settings.close_up == 0
    assert everything.settings.views != axial.settings.views


def test_a_name_goes_above_the_datasets_own():
    content = {"clisc": {"sam": {"name": "nothing.pth"}}}
    assert load_dataset_sam(content, "bundled", "all", CPU).sam.name == "bundled"
    with pytest.raises(UserError, match=r"other\.pth"):
        load_dataset_sam(content, "other.pth", "all", CPU)


def test_the_papers_settings_come_with_what_was_changed_in_them():
    made = {"settings": {"preset": "paper", "slices": {"plane_mm": 7.0}}}
    settings = pipeline_settings({"clisc": made})
    expected = replace(PRESETS["paper"].slices, plane_mm=7.0)
    assert settings.slices == expected
    assert load_dataset_sam({"clisc": made}, "", "all", CPU).slices == expected
    assert made == {"settings": {"preset": "paper", "slices": {"plane_mm": 7.0}}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "best"}, "preset: found 'best'; expected one of default, paper"),
        (
            {"slices": {"plane": 3}},
            "dataset.json: clisc: settings: slices: found unknown key 'plane'",
        ),
        ({"slices": 3}, "slices = 3; expected an object"),
    ],
)
def test_settings_that_are_none_of_ours_are_reported(settings, message):
    with pytest.raises(UserError, match=message):
        load_dataset_sam({"clisc": {"settings": settings}}, "", "all", CPU)


def test_a_dataset_of_others_gets_the_default():
    assert pipeline_settings({}).preset == "default"
    assert pipeline_settings({"clisc": {"settings": {"preset": "paper"}}}).sam.equalise


def test_the_sam_that_drew_the_labels_is_known_by_its_hash():
    dataset_sam = load_dataset_sam({}, "bundled", "axial", CPU)
    content = {"clisc": {"sam": {"name": "bundled", "sha256": dataset_sam.sam.sha256}}}
    assert is_pseudo_label_sam(dataset_sam.sam, content)
    assert not is_pseudo_label_sam(dataset_sam.sam, {"clisc": {"sam": {"sha256": "0"}}})
    assert not is_pseudo_label_sam(
        dataset_sam.sam, {"clisc": {"sam": {"name": "bundled", "sha256": "0"}}}
    )
    assert not is_pseudo_label_sam(dataset_sam.sam, {})


def test_the_same_file_taken_for_another_sam_did_not_draw_them(sam_file):
    plain, medsam = (load_sam(f"{like}{sam_file}", CPU) for like in ("", "medsam="))
    noted = {"name": "mine.pth", "sha256": plain.sha256, "identity": plain.identity}
    assert is_pseudo_label_sam(plain, {"clisc": {"sam": noted}})
    assert not is_pseudo_label_sam(medsam, {"clisc": {"sam": noted}})
    # Datasets of earlier versions tell the hash alone.
    del noted["identity"]
    assert is_pseudo_label_sam(medsam, {"clisc": {"sam": noted}})


def test_an_unknown_sam_is_reported():
    with pytest.raises(UserError, match=r"nothing\.pth: found no such file.* CLISC_SAM=FILE"):
        load_dataset_sam({"clisc": {"sam": {"name": "nothing.pth"}}}, "", "all", CPU)


def test_a_file_of_another_sam_judges_only_if_it_is_named(sam_file, tmp_path, monkeypatch):
    content = {"clisc": {"sam": {"name": "mine.pth", "sha256": "f00d"}}}
    monkeypatch.chdir(sam_file.parent)
    with pytest.raises(UserError, match="another file under this name"):
        load_dataset_sam(content, "", "all", CPU)
    assert not is_pseudo_label_sam(load_dataset_sam(content, "mine.pth", "all", CPU).sam, content)


def test_the_sam_of_the_labels_is_loaded_from_where_the_converter_had_it(sam_file, tmp_path):
    drew = load_sam(f"medsam={sam_file}", CPU)
    noted = {"name": "medsam=mine.pth", "sha256": drew.sha256, "identity": drew.identity}
    (tmp_path / "run.json").write_text(json.dumps({"models": {"sam": {"name": drew.name}}}))
    content = {"clisc": {"sam": noted}}
    for where in ({"clisc": tmp_path}, {"records": [tmp_path / "none", tmp_path]}):
        dataset_sam = load_dataset_sam(content, "", "all", CPU, **where)
        assert dataset_sam.sam.name == drew.name and is_pseudo_label_sam(dataset_sam.sam, content)


@pytest.mark.parametrize("content", [{"settings": []}, {"settings": None}, [1], None, {"sam": "x"}])
def test_odd_content_of_dataset_json_is_reported_or_ignored(content):
    if content in (None, {"settings": None}, {"settings": []}):
        assert load_dataset_sam({"clisc": content}, "", "all", CPU).sam.name == "bundled"
    else:
        with pytest.raises(UserError, match=r"dataset\.json: clisc"):
            load_dataset_sam({"clisc": content}, "", "all", CPU)


def test_sam_looks_at_the_channel_that_the_labels_were_drawn_on():
    content = {"channel_names": {"0": "T1", "1": "FLAIR"}, "clisc": {"prompt_channel": 1}}
    assert load_dataset_sam(content, "", "all", CPU).channel == 1
    assert label_channel({"channel_names": {"0": "FLAIR"}}) == label_channel({}) == 0


@pytest.mark.parametrize("number", [2, -1, "1", True, None])
def test_a_channel_that_is_not_there_is_reported(number):
    content = {"channel_names": {"0": "T1", "1": "FLAIR"}, "clisc": {"prompt_channel": number}}
    with pytest.raises(UserError, match=r"prompt_channel: found .* expected one of 0, 1"):
        label_channel(content)
