"""Judgements that are kept; SAM is a stand-in that counts what it is asked."""

import json

import numpy as np
import pytest

from clisc_nnunet.errors import ScanError
from clisc_nnunet.pipeline.result_cache import Fingerprint, ResultCache
from clisc_nnunet.quality_control import score_cache
from clisc_nnunet.quality_control.prediction_scores import CaseQuality, View
from clisc_nnunet.quality_control.prompt_stability import JitterSettings
from clisc_nnunet.quality_control.score_cache import (
    STAGE,
    ScoreCache,
    load_scores,
    save_scores,
)
from clisc_nnunet.settings import PromptSettings, SamSettings, SliceSettings

RECIPE = Fingerprint("inputs", "settings")


def views(seed=0, count=2):
    rng = np.random.default_rng(seed)
    return [
        View(f"view {k}", rng.integers(0, 256, (9, 7), np.uint8), *(rng.random((2, 9, 7)) > 0.5))
        for k in range(count)
    ]


class Sam:
    """The attributes of a segmenter that `ScoreCache` reads."""

    prompts, settings = PromptSettings(), SamSettings()

    class model:
        identity = "of SAM"


@pytest.fixture
def asked(monkeypatch):
    """Cases that SAM was asked about."""
    cases = []

    def score(segmenter, opened, jitter):
        cases.append(opened)
        return CaseQuality(opened, "judged", "", None, None, 0.1 + 0.2, 0.5, 1.0), views()

    monkeypatch.setattr(score_cache, "score_prediction", score)
    monkeypatch.setattr(score_cache, "open_prediction", lambda case, *_: case)
    return cases


@pytest.fixture
def files(tmp_path):
    """Scans and predictions of three cases, by case; only their bytes matter here."""
    folders = {}
    for folder in ("images", "predictions"):
        folders[folder] = {case: tmp_path / folder / case for case in "abc"}
        for path in folders[folder].values():
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{path.name} of {folder}")
    return folders


def score(tmp_path, files, **others):
    options = {"slices": SliceSettings(), "jitter": JitterSettings(), **others}
    made = ScoreCache(ResultCache(tmp_path / "judged"), Sam(), **options)
    made.score(**files)
    return made


@pytest.mark.parametrize("count", [1, 2])
def test_a_judgement_comes_back_as_it_was(tmp_path, count):
    quality = CaseQuality("a", "judged", "", None, None, 0.1 + 0.2, 1 / 3, 1.0, 12.5, 3e-7, 4)
    cache, shown = ResultCache(tmp_path), views(count=count)
    save_scores(cache, RECIPE, quality, shown)
    again, seen = load_scores(cache, RECIPE, "a")
    assert again == quality
    assert [view.title for view in seen] == [view.title for view in shown]
    for view, before in zip(seen, shown, strict=True):
        for name in ("pixels", "prediction", "answer"):
            found, expected = getattr(view, name), getattr(before, name)
            assert found.dtype == expected.dtype and np.array_equal(found, expected)


def test_what_is_there_is_not_asked_again(tmp_path, files, asked, capsys):
    first = score(tmp_path, files)
    assert asked == ["a", "b", "c"] and first.reused == 0
    assert capsys.readouterr().out == ""
    again = score(tmp_path, files)
    assert asked == ["a", "b", "c"] and again.reused == 3
    assert [quality for quality, _ in again] == [quality for quality, _ in first]
    assert "quality: 3 of 3 kept" in capsys.readouterr().out


@pytest.mark.parametrize("folder", ["images", "predictions"])
def test_a_changed_file_is_judged_again(tmp_path, files, asked, capsys, folder):
    score(tmp_path, files)
    files[folder]["b"].write_text("another")
    del asked[:]
    assert score(tmp_path, files).reused == 2
    assert asked == ["b"]
    assert "2 of 3 kept; 1 made again (other inputs)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        {"slices": SliceSettings(plane_mm=7.0)},
        {"jitter": JitterSettings(seed=1)},
        {"jitter": JitterSettings(amount=0.1)},
    ],
)
def test_other_settings_are_judged_again(tmp_path, files, asked, change):
    score(tmp_path, files)
    assert score(tmp_path, files, **change).reused == 0
    assert asked == [*"abc", *"abc"]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("settings", SamSettings(views=("axial",), close_up=0.0)),
        ("prompts", PromptSettings(margin=9)),
        ("model", type("model", (), {"identity": "of another"})),
    ],
)
def test_another_sam_or_other_looks_are_asked_again(
    tmp_path, files, asked, monkeypatch, part, value
):
    score(tmp_path, files)
    monkeypatch.setattr(Sam, part, value)
    assert score(tmp_path, files).reused == 0
    assert asked == [*"abc", *"abc"]


def test_a_damaged_judgement_is_recomputed(tmp_path, files, asked, capsys):
    first = score(tmp_path, files)
    path = first.cache.path("b", STAGE)
    path.write_bytes(path.read_bytes()[:50])
    del asked[:]
    again = score(tmp_path, files)
    assert asked == ["b"] and len(list(again)) == 3
    assert "1 made again (a damaged file)" in capsys.readouterr().out


def test_what_cannot_be_read_is_a_failure_and_tried_again(tmp_path, files, asked, monkeypatch):
    files["images"]["a"].unlink()

    def refuse(case, *_):
        if case == "b":
            raise ScanError("b", "noise", "a scan", "fix it")
        return case

    with monkeypatch.context() as patch:
        patch.setattr(score_cache, "open_prediction", refuse)
        found = score(tmp_path, files)
    assert found.failures.keys() == {"a", "b"} and "found noise" in found.failures["b"]
    assert [quality.case for quality, _ in found] == ["c"]
    files["images"]["a"].write_text("there")
    assert score(tmp_path, files).failures == {}
    assert asked == ["c", "a", "b"]


def test_stopped_at_any_case_it_gives_the_same(tmp_path, files, asked, monkeypatch):
    whole = list(score(tmp_path / "whole", files))
    work = score_cache.score_prediction
    for stop in "abc":

        def stopped(segmenter, opened, jitter, stop=stop):
            if opened == stop:
                raise KeyboardInterrupt
            return work(segmenter, opened, jitter)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(score_cache, "score_prediction", stopped)
            score(tmp_path, files)
    del asked[:]
    again = score(tmp_path, files)
    assert asked == ["c"]
    assert [quality for quality, _ in again] == [quality for quality, _ in whole]


def test_a_record_is_plain_json(tmp_path):
    save_scores(ResultCache(tmp_path), RECIPE, CaseQuality("a", "empty", "why"), views(count=1))
    with np.load(tmp_path / "a" / f"{STAGE}.npz") as file:
        assert json.loads(str(file["quality"]))["reason"] == "why"
        assert json.loads(str(file["recipe"]))["inputs"] == "inputs"
