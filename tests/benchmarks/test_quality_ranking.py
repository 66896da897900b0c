import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmarks.quality_ranking import as_markdown, interval, main, mean_after_exclusion, spearman
from clisc_nnunet.io.volume import write_volume
from clisc_nnunet.quality_control.prediction_scores import CaseQuality
from clisc_nnunet.quality_control.quality_page import as_json


def test_spearman_is_scipys():
    rng = np.random.default_rng(0)
    first, second = rng.random(20), rng.integers(0, 5, 20)
    assert spearman(first, second) == pytest.approx(spearmanr(first, second).statistic)
    assert np.isnan(spearman(first, np.ones(20)))


def test_the_interval_holds_the_value_and_narrows_with_cases():
    rng = np.random.default_rng(1)
    first = rng.random(80)
    second = first + 0.3 * rng.random(80)
    low, high = interval(first, second)
    assert low < spearman(first, second) < high
    few = interval(first[:10], second[:10])
    assert few[1] - few[0] > high - low


def test_the_least_trusted_are_rejected():
    trust, true = np.array([0.5, 0.1, 0.9, 0.7, 0.8]), np.array([0.6, 0.2, 0.8, 0.7, 0.9])
    assert mean_after_exclusion(trust, true, 0.2) == pytest.approx(0.75)
    assert mean_after_exclusion(-trust, true, 0.2) == pytest.approx(0.6)
    assert mean_after_exclusion(trust, true, 0.0) == pytest.approx(true.mean())


def judged(case, rank, value):
    return CaseQuality(case, "judged", "", rank, value, value, value, 1 - value, 5.0)


CASES = [
    CaseQuality("empty", "empty", "", 1, 0.0),
    *[judged(f"c{k}", k + 1, k / 5) for k in range(1, 5)],
    CaseQuality("failed", "failed", "why"),
]


def test_the_table_tells_agreement_for_each_measure():
    true = {"empty": 0.0, "failed": 0.9, **{f"c{k}": k / 10 for k in range(1, 5)}}
    text = as_markdown(CASES, true)
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines()}
    assert "| 1.00 |" in rows["score"] and "| 1.00 |" in rows["similarity"]
    # It falls where Dice rises, but for the empty case, which is the least by all measures.
    assert "| 0.00 |" in rows["stability"]
    assert "Mean Dice of all 0.200; after excluding the worst 1 " in text
    assert "0.250" in rows["score"]
    assert "failed" not in text


def test_reads_an_estimate_and_the_references(tmp_path, head, capsys):
    volume, blob = head
    masks = {"c1": np.roll(blob, 9, axis=0), "c2": np.roll(blob, 4, axis=0), "c3": blob}
    for name, mask in masks.items():
        write_volume(tmp_path / "p" / f"{name}.nii.gz", mask, volume.geometry)
        write_volume(tmp_path / "r" / f"{name}.nii.gz", blob, volume.geometry)
    cases = [judged(f"c{k}", k, k / 5) for k in (1, 2, 3)]
    (tmp_path / "quality.json").write_text(as_json(cases, {}))
    call = ["-q", str(tmp_path / "quality.json"), "-p", str(tmp_path / "p")]
    assert main([*call, "-r", str(tmp_path / "r")]) == 0
    assert "| score | 1.00 |" in capsys.readouterr().out
    assert main([*call, "-r", str(tmp_path / "nowhere")]) == 2
    assert "no such file" in capsys.readouterr().err
