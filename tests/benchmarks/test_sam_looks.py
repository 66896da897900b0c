"""SAM's looks compared on a finished conversion."""

import numpy as np
import pytest
from helpers.finished import SCAN, SHAPE, FinishedCase, block, on_scan, write_finished

from benchmarks.sam_looks import LOOKS, SHIFTS, load_cases, main
from clisc_nnunet.io.volume import write_volume
from clisc_nnunet.stages.slice_classes import NORMAL, TUMOUR

TRUTH = block(slice(2, 5), slice(2, 10), slice(3, 13))
EMPTY = np.zeros(SHAPE, bool)
VOTED = np.array([NORMAL, NORMAL, TUMOUR, TUMOUR, TUMOUR, NORMAL, NORMAL, NORMAL])


@pytest.fixture
def folders(tmp_path):
    case = FinishedCase(TRUTH, TRUTH, TRUTH, np.full(8, 0.5), VOTED)
    write_finished(tmp_path / "dataset", {"one": case, "healthy": case}, failed="broken")
    for name, truth in (("one", TRUTH), ("healthy", EMPTY)):
        path = tmp_path / "references" / f"{name}.nii.gz"
        write_volume(path, on_scan(truth).astype(np.uint8), SCAN)
    return tmp_path / "dataset", tmp_path / "references"


def test_only_cases_with_a_tumour_are_compared(folders):
    (case,) = load_cases(*folders)
    assert case.name == "one"
    assert case.region.shape == case.truth.shape == case.stack.pixels.shape
    assert case.truth.any()


def test_prints_a_line_per_look(folders, capsys):
    dataset, references = folders
    only = ["axial", "default"]
    assert main(["-d", str(dataset), "-r", str(references), "--only", *only]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert "(1 cases)" in lines[0]
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| axial", "| default"]
    assert all(len(line.split(" | ")) == len(SHIFTS) + 2 for line in lines)


def test_the_default_look_is_the_pipelines():
    settings, prompts, fill = LOOKS["default"]
    assert (settings, prompts, fill) == (type(settings)(), type(prompts)(), True)
