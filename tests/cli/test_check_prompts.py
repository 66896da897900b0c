import json

import numpy as np
import pytest

from clisc_nnunet.cli.check_prompts import main
from clisc_nnunet.io.volume import write_volume


@pytest.fixture
def scans(head, tmp_path):
    for name in ("a", "b", "c"):
        write_volume(tmp_path / "scans" / f"{name}.nii.gz", head[0].array, head[0].geometry)
    return tmp_path / "scans"


def prompt_file(path, tumour):
    normal = "an image of brain tissue showing typical signal intensity"
    path.write_text(json.dumps({"normal": [normal], "tumour": [tumour]}))
    return str(path)


def test_sets_are_compared_on_a_few_volumes(scans, tmp_path, capsys):
    same = prompt_file(
        tmp_path / "same.json", "an image of brain tissue showing typical signal intensity"
    )
    call = ["-i", str(scans), "-n", "2", "-o", str(tmp_path / "out.html"), "-device", "cpu"]
    assert main([*call, "--prompts", "paper", "--prompts", same]) == 0
    text = capsys.readouterr().out
    assert "same: prompts hardly separate slices: 100% are unsure" in text
    lines = [line.split() for line in text.splitlines()[1:3]]
    assert [line[0] for line in lines] == ["paper", "same"]
    assert lines[0][1] == lines[1][1] and lines[1][4] == "100%" and lines[0][-1] == "2"
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "slice of a" in page and "slice of c" in page and "slice of b" not in page


def test_a_scan_that_cannot_be_used_is_skipped(scans, tmp_path, capsys):
    (scans / "b.nii.gz").write_bytes(b"cut")
    call = ["-i", str(scans), "-o", str(tmp_path / "out.png"), "-device", "cpu"]
    assert main(call) == 3
    assert "skipped: b: " in capsys.readouterr().err
    assert (tmp_path / "out.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "out.pdf"], "-o: found out.pdf; expected a name ending in .html or .png"),
        (["-o", "out.png", "-n", "0"], "-n: found 0"),
        (["-o", "out.png", "--clip", "none.pt"], "neither a known clip nor a file"),
        (["-o", "out.png", "--prompts", "none.json"], "no text prompts"),
        (["-o", "out.png", "--prompts", "paper", "--prompts", "paper"], "same name"),
        (["-o", "out.png", "--brain-mask", "nowhere"], "nowhere: found no such folder"),
    ],
)
def test_mistakes_are_reported_before_any_work(scans, capsys, options, message):
    assert main(["-i", str(scans), *options]) == 2
    assert message in capsys.readouterr().err


def test_words_outside_of_the_vocabulary_are_reported(scans, tmp_path, capsys):
    words = prompt_file(tmp_path / "words.json", "a photograph of a zebra")
    assert main(["-i", str(scans), "-o", str(tmp_path / "o.png"), "--prompts", words]) == 2
    assert "words that the bundled CLIP does not know" in capsys.readouterr().err


def test_another_channel_is_used(head, tmp_path, capsys):
    folder = tmp_path / "scans"
    write_volume(folder / "a_t2.nii.gz", head[0].array, head[0].geometry)
    for name in "bc":
        for number in range(2):
            path = tmp_path / "numbered" / f"{name}_000{number}.nii.gz"
            write_volume(path, head[0].array, head[0].geometry)
    (tmp_path / "numbered" / "b_0000.nii.gz").write_bytes(b"cut")
    rest = ["-o", str(tmp_path / "out.png"), "-device", "cpu"]
    assert main(["-i", str(folder), *rest]) == 2
    assert "no FLAIR among 1 scans" in capsys.readouterr().err
    assert main(["-i", str(folder), *rest, "--prompt-channel", "T2"]) == 0
    assert main(["-i", str(tmp_path / "numbered"), *rest]) == 2
    assert "--channels flair=0003" in capsys.readouterr().err
    assert main(["-i", str(tmp_path / "numbered"), *rest, "--channels", "flair=0001"]) == 0


def test_without_one_usable_scan_there_is_nothing_to_show(tmp_path, capsys):
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.nii.gz").write_bytes(b"cut")
    assert main(["-i", str(tmp_path / "scans"), "-o", str(tmp_path / "o.html")]) == 2
    assert "no usable scan among 1" in capsys.readouterr().err
    assert not (tmp_path / "o.html").exists()


def test_slices_are_cut_from_a_given_brain(scans, head, tmp_path, capsys):
    """The given masks contain the middle planes only; a case without a mask is skipped."""
    scan = head[0]
    brain = (scan.array > 50).astype(np.uint8)
    brain[:20] = brain[40:] = 0
    for name in ("a", "b"):
        write_volume(tmp_path / "brains" / f"{name}.nii.gz", brain, scan.geometry)
    call = ["-i", str(scans), "-o", str(tmp_path / "out.png"), "-device", "cpu"]
    assert main(call) == 0
    slices = int(capsys.readouterr().out.splitlines()[1].split()[1])
    assert main([*call, "--brain-mask", str(tmp_path / "brains")]) == 3
    found = capsys.readouterr()
    assert f"skipped: c: {tmp_path / 'brains' / 'c.nii.gz'}: " in found.err
    assert 2 * 18 <= int(found.out.splitlines()[1].split()[1]) <= 2 * 22 < slices
