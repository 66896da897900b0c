import json

from benchmarks.round_cost import epoch_seconds, main


def test_rounds_stand_beside_the_epochs_of_all_logs(tmp_path, capsys):
    fold = tmp_path / "nnUNetTrainerCLISC__plans__3d" / "fold_0"
    (fold / "clisc").mkdir(parents=True)
    (fold / "training_log_1.txt").write_text("Epoch 0\nEpoch time: 10.0 s\nEpoch time: 30.0 s\n")
    (fold / "training_log_2.txt").write_text("2026: Epoch time: 20.0 s\n")
    facts = {
        "cases": {"a": {}, "b": {}},
        "seconds": {"predicting": 12.0, "judging": 28.0},
        "peak_memory_gb": {"before": 1.5, "after": 2.0},
    }
    (fold / "clisc" / "round_01.json").write_text(json.dumps(facts))
    assert epoch_seconds(fold) == [10.0, 30.0, 20.0]
    assert main([str(fold)]) == 0
    row = capsys.readouterr().out.splitlines()[2]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        "nnUNetTrainerCLISC__plans__3d", "2", "20.0 s", "12.0 s", "28.0 s", "2.0", "1.5 -> 2.0",
    ]  # fmt: skip
