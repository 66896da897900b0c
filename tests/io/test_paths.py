from pathlib import Path

import numpy as np
import pytest

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.dicom_series import find_series
from clisc_nnunet.io.paths import is_text, itk_name, without_folder
from clisc_nnunet.io.volume import Geometry, read_geometry, read_volume, write_volume

GRID = Geometry((4, 4, 3), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def test_text_is_unchanged():
    for name in ("a b.nii", "脑/ä.mha", "a\nb"):
        assert is_text(Path(name)) and itk_name(Path(name)) == name


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("/data/mine.pth", "mine.pth"),
        ("medsam=/home/alice/w/mine.pth", "medsam=mine.pth"),
        ("ViT-B-32/openai=/data/clip.pt", "ViT-B-32/openai=clip.pt"),
        ("/data/a=b.pth", "a=b.pth"),
        ("medsam=w/mine.pth", "medsam=w/mine.pth"),
        ("sam_vit_b", "sam_vit_b"),
        ("", ""),
    ],
)
def test_names_contain_no_local_folders(name, short):
    assert without_folder(name) == short


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".mha"])
def test_names_that_are_not_utf8_are_reported(tmp_path, ending):
    write_volume(tmp_path / f"a{ending}", np.eye(4, dtype=np.uint8)[None].repeat(3, 0), GRID)
    odd = (tmp_path / f"a{ending}").rename(tmp_path / f"\udcff{ending}")
    for read in (read_volume, read_geometry):
        with pytest.raises(
            ScanError, match=r"\\udcff\.[a-z.]+: found a name that is not valid UTF-8"
        ):
            read(odd)
    with pytest.raises(ScanError, match="rename the file or folder"):
        write_volume(odd, np.ones(GRID.shape, np.uint8), GRID)


def test_a_dicom_slice_with_such_a_name_is_not_read(tmp_path):
    start = bytes(128) + b"DICM" + b"1.2.840.10008.5.1.4.1.1.4\0"
    (tmp_path / "\udcff.dcm").write_bytes(start)
    found = find_series(tmp_path)
    assert (found.series, found.broken) == ((), (tmp_path / "\udcff.dcm",))
