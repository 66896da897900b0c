import json

import numpy as np
import pytest
import torch

from clisc_nnunet.errors import UserError
from clisc_nnunet.models.clip import load_clip
from clisc_nnunet.settings import LabelSettings
from clisc_nnunet.stages.clip_labels import (
    PAPER_TEXT_PROMPTS,
    class_embeddings,
    read_text_prompts,
    sure_labels,
    tumour_probability,
    vote,
)
from clisc_nnunet.stages.slice_classes import NORMAL, TUMOUR, UNSURE

T, N, U = TUMOUR, NORMAL, UNSURE


def test_labels_below_the_limit_are_unsure():
    probability = np.array([0.0, 0.4, 0.41, 0.59, 0.6, 1.0])
    assert sure_labels(probability, LabelSettings()).tolist() == [N, N, U, U, T, T]


def test_an_island_is_outvoted():
    labels = np.array([N] * 8 + [T] + [N] * 8)
    assert vote(labels, np.arange(17), LabelSettings()).tolist() == [N] * 17


def test_eight_votes_are_too_few():
    """At least 9 must vote, including the slice itself: 5 + 1 + 2 are too few."""
    labels = np.array([N] * 5 + [T] + [N] * 2)
    assert vote(labels, np.arange(8), LabelSettings()).tolist() == labels.tolist()
    longer = np.append(labels, N)
    assert vote(longer, np.arange(9), LabelSettings())[5] == N


def test_slices_that_are_far_away_do_not_vote():
    labels = np.array([N] * 5 + [T] + [N] * 5)
    apart = 3 * np.arange(11)
    assert vote(labels, apart, LabelSettings()).tolist() == labels.tolist()


def test_unsure_slices_neither_vote_nor_change():
    labels = np.array([N, U] * 5 + [T] + [U, N] * 5)
    settings = LabelSettings(vote_distance=20)
    assert vote(labels, np.arange(21), settings).tolist() == [N, U] * 5 + [N] + [U, N] * 5


def test_all_votes_are_those_of_the_given_labels():
    """Changed labels do not affect the votes for the next slice."""
    labels = np.array([T] * 10 + [N] * 10)
    assert vote(labels, np.arange(20), LabelSettings()).tolist() == labels.tolist()


def test_a_tie_keeps_the_label():
    settings = LabelSettings(vote_reach=5, vote_quorum=4)
    labels = np.array([T, N, T, N])
    assert vote(labels, np.arange(4), settings).tolist() == labels.tolist()


def test_prompts_from_a_file(tmp_path):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"normal": ["a"], "tumour": ["b", "c"]}))
    assert read_text_prompts(str(path)) == {"normal": ("a",), "tumour": ("b", "c")}
    assert read_text_prompts("paper") == PAPER_TEXT_PROMPTS


def test_a_missing_prompt_file_is_reported(tmp_path):
    with pytest.raises(UserError, match="FileNotFoundError"):
        read_text_prompts(str(tmp_path / "none.json"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no text prompts"),
        ('{"normal": ["a"]}', "KeyError: 'tumour'"),
        ('{"normal": [], "tumour": ["a"]}', r"normal: \[\]"),
        ('{"normal": [1], "tumour": ["a"]}', r"normal: \[1\]"),
        ('{"normal": ["a"], "tumour": "a tumour"}', "tumour: 'a tumour'"),
        ('{"normal": ["a"], "tumour": 3}', "tumour: 3"),
        ('["a", "b"]', "TypeError"),
    ],
)
def test_invalid_prompt_files_are_reported(tmp_path, content, message):
    path = tmp_path / "prompts.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_text_prompts(str(path))


def test_bundled_clip_separates_tumour_and_healthy_slices():
    """On a phantom whose seed was not used for training."""
    from clisc_nnunet.bundled.phantom_set import training_volume
    from clisc_nnunet.phantoms.anatomy import mni152_anatomy
    from clisc_nnunet.phantoms.settings import PhantomSettings, TumourSettings

    clip = load_clip("bundled", torch.device("cpu"))
    classes = class_embeddings(clip, PAPER_TEXT_PROMPTS)
    assert classes.norm(dim=-1).tolist() == pytest.approx([1, 1], abs=1e-5)
    always = PhantomSettings(tumour=TumourSettings(free=0.0))
    volume = training_volume(123_457, [mni152_anatomy(3.0)], always)
    area = volume.tumour.sum(axis=(1, 2))
    brain = (volume.pixels > 0).sum(axis=(1, 2)) > 600
    probability = tumour_probability(clip, classes, volume.pixels)
    assert area.max() > 300
    assert probability[area > 150].mean() > probability[(area == 0) & brain].mean() + 0.3
