"""Variants and table of the filter's control; trainings are a stand-in."""

import json

import pytest

from benchmarks import filter_control
from benchmarks.filter_control import DEFAULT, VARIANTS, Result, main, read_finished, table
from clisc_nnunet.trainers.round_settings import RoundSettings, round_epochs


def row(text, variant):
    return next(line for line in text.splitlines() if line.startswith(f"| {variant} |"))


def cases(*similarities):
    return {
        f"t{k}": {"similarity": value, "volume_predicted_ml": 5.0}
        for k, value in enumerate(similarities)
    }


@pytest.mark.parametrize(
    "variant", [variant for variant in VARIANTS if variant not in ("clean", "default")]
)
def test_every_variant_changes_the_default_round(variant):
    changed = RoundSettings(**{**DEFAULT, **VARIANTS[variant]})
    assert changed != RoundSettings(**DEFAULT)
    # All go on from one checkpoint: no round may be due before it.
    assert all(epoch >= 24 * filter_control.FIRST_ROUND for epoch in round_epochs(changed, 24))


def test_the_share_alone_decides_in_its_variants():
    ratios = {
        variant: settings for variant, settings in VARIANTS.items() if variant.startswith("keep ")
    }
    assert [settings["keep_ratio"] for settings in ratios.values()] == [0.6, 0.7, 0.8, 0.9]
    assert all(settings["min_similarity"] == 0 for settings in ratios.values())


def test_variants_are_compared_with_no_round_on_the_seeds_of_both():
    none = {0: Result({"a": 0.5, "b": 0.7}, {}, {}), 1: Result({"a": 0.6, "b": 0.8}, {}, {})}
    found = cases(0.1, 0.9, 0.8, 0.7, 0.95, 0.85, 0.75, 0.92, 0.2, 0.88)
    variant = {1: Result({"a": 0.8, "b": 0.9}, found, {"t0": "empty", "t3": "half"})}
    text = table({"none": none, "keep 0.8": variant})
    assert "| 0.600 (0), 0.700 (1) | 0.650 (0.550 to 0.750) |  |  |  |  |  |" in row(text, "none")
    kept = row(text, "keep 0.8")
    assert "| 0.850 (1) | 0.850 (0.800 to 0.900) | +0.150 | +0.100 to +0.200 |" in kept
    assert "+0.100 (b)" in kept
    # Of ten, three go at 0.7 (both corrupted ones and a good one), two at 0.8.
    assert kept.endswith("| 1.00 / 0.88 | 0.50 / 0.88 |")


def test_without_its_base_there_is_no_difference():
    text = table({"default": {0: Result({"a": 0.5, "b": 0.7}, {}, {})}})
    assert "| 0.600 (0.500 to 0.700) |  |  |  |" in row(text, "default")


@pytest.fixture
def trained(monkeypatch):
    """Seed and variant of each training that was made; the third is interrupted."""
    done = []

    def train(phantoms, out, seed, variant, *_):
        file = filter_control.result_file(out, seed, variant)
        if file.exists():
            return
        if len(done) == 2:
            done.append("interrupted")
            raise KeyboardInterrupt
        done.append((seed, variant))
        rounds = [{"cases": cases(0.1, 0.9, 0.8)}] if variant == "default" else []
        (out / f"labels{seed}").mkdir(parents=True, exist_ok=True)
        (out / f"labels{seed}" / "kinds.json").write_text('{"t0": "half"}')
        filter_control.write_text(file, json.dumps({"dice": {"a": 0.5}, "rounds": rounds}))

    monkeypatch.setattr(filter_control, "run_variant", train)
    monkeypatch.setattr(filter_control, "use_folders", lambda out: None)
    return done


def test_it_resumes_and_shows_what_is_finished(tmp_path, trained, capsys):
    call = ["-i", str(tmp_path), "-o", str(tmp_path / "out"), "--arms", "none", "default"]
    assert main([*call, "--minutes", "0"]) == 0
    assert "no variant is finished yet" in capsys.readouterr().out
    with pytest.raises(KeyboardInterrupt):
        main([*call, "--seeds", "0", "1"])
    assert main([*call, "--minutes", "0", "--seeds", "0", "1"]) == 0
    text = capsys.readouterr().out
    assert "| 0.500 (0) |" in row(text, "default") and "+0.000" in row(text, "default")
    assert main([*call, "--seeds", "0", "1"]) == 0
    assert trained == [(0, "none"), (0, "default"), "interrupted", (1, "none"), (1, "default")]
    finished = read_finished(tmp_path / "out", [0, 1], ["none", "default", "clean"])
    assert {variant: sorted(by_seed) for variant, by_seed in finished.items()} == {
        "none": [0, 1],
        "default": [0, 1],
    }
    assert (
        finished["default"][0].corrupted == {"t0": "half"} and not finished["none"][0].first_round
    )


def test_another_budget_for_the_same_folder_is_refused(tmp_path, trained, capsys):
    call = ["-i", str(tmp_path), "-o", str(tmp_path / "out"), "--minutes", "0"]
    assert main(call) == 0
    assert main([*call, "--epochs", "4"]) == 2
    assert "expected epochs 4" in capsys.readouterr().err
