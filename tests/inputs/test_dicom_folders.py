import shutil

from helpers.dicom_files import write_series

from clisc_nnunet.inputs.channels import Channel
from clisc_nnunet.inputs.dicom_folders import contains_dicom, find_dicom
from clisc_nnunet.inputs.file_tree import walk


def test_files_named_as_images_are_not_opened(tmp_path):
    write_series(tmp_path / "P1", "1.2")
    slices = sorted((tmp_path / "P1").iterdir())
    for folder in (tmp_path / "P1", tmp_path / "P2"):
        folder.mkdir(exist_ok=True)
        for name in ("tumour_seg.nii.gz", "tumour_seg.nii", "tumour_seg.nrrd"):
            shutil.copy(slices[0], folder / name)
    assert contains_dicom(walk(tmp_path)) == {tmp_path / "P1"}
    found, _, _ = find_dicom(tmp_path, [Channel("flair")])
    assert [(scan.case, list(scan.source.files)) for scan in found] == [("P1", slices)]
