from pathlib import Path

import pytest

from clisc_nnunet.dataset_layout import DatasetLayout, read_names
from clisc_nnunet.errors import UserError


def test_what_a_run_writes_keeps_its_place():
    dataset = DatasetLayout(Path("Dataset501_CLISC"))
    assert {path.relative_to(dataset.folder).as_posix() for path in paths(dataset)} == {
        "dataset.json",
        "imagesTr",
        "labelsTr",
        "clisc",
        "clisc/stages",
        "clisc/cases.csv",
        "clisc/slice_labels.csv",
        "clisc/settings.json",
        "clisc/run.json",
        "clisc/report.html",
        "clisc/overview.png",
        "clisc/sidecars",
        "clisc/trusted.txt",
        "clisc/exclude.txt",
        "clisc/phantoms.txt",
        "clisc/phantoms",
        "clisc/replaced_labels",
    }
    assert dataset.image("a.1", 2) == dataset.images / "a.1_0002.nii.gz"
    assert dataset.label("a.1") == dataset.labels / "a.1.nii.gz"
    assert dataset.cam("a.1") == dataset.clisc / "cam" / "a.1.nii.gz"
    assert dataset.roi("a.1") == dataset.clisc / "roi" / "a.1.nii.gz"


def paths(dataset):
    kinds = vars(DatasetLayout).items()
    return [getattr(dataset, name) for name, kind in kinds if isinstance(kind, property)]


def test_names_in_order_with_their_lines(tmp_path):
    path = tmp_path / "list.txt"
    assert read_names(path) == {}
    path.write_text("\ufeffb # seen\r\n\r\n# by hand\r\n a.1 x \r\nb\r\n", encoding="utf-8")
    assert list(read_names(path).items()) == [("b", "b"), ("a.1 x", "a.1 x")]
    path.write_text("b # seen\n")
    assert read_names(path) == {"b": "b # seen"}


def test_a_file_that_is_not_a_text_is_reported(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(UserError, match=r"list\.txt: .*expected a text file"):
        read_names(tmp_path / "list.txt")
