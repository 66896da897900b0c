"""Where a voxel of nnU-Net's preprocessed array lies, held against the scan's own header."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from scipy import ndimage
from tiny_nnunet import configuration, dataset_json, plans

from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.trainers.preprocessed_case import PreprocessedCase, preprocessed_geometry

AXIAL = (1, 0, 0, 0, 1, 0, 0, 0, 1)
CORONAL = (1, 0, 0, 0, 0, 1, 0, -1, 0)
OBLIQUE = tuple(
    np.array([[1, 0, 0], [0, np.cos(0.2), -np.sin(0.2)], [0, np.sin(0.2), np.cos(0.2)]]).ravel()
)


def scan(tmp_path, direction):
    """A brain with a blob off its centre, much background, and the blob's centre in millimetres."""
    shape, spacing = (40, 44, 36), (2.0, 2.5, 3.0)
    plane, row, column = np.indices(shape)
    brain = ((plane - 22) / 15) ** 2 + ((row - 20) / 15) ** 2 + ((column - 19) / 14) ** 2 < 1
    blob = (plane - 28) ** 2 + (row - 15) ** 2 + (column - 22) ** 2 < 16
    array = (100.0 * brain + 90.0 * (blob & brain)).astype(np.float32)
    files = tmp_path / "scan_0000.nii.gz", tmp_path / "scan.nii.gz"
    for file, content in zip(files, (array, (blob & brain).astype(np.float32)), strict=True):
        image = sitk.GetImageFromArray(content)
        image.SetSpacing(spacing)
        image.SetOrigin((-31.0, 12.0, 7.0))
        image.SetDirection(direction)
        sitk.WriteImage(image, str(file))
    centre = np.argwhere(blob & brain).mean(axis=0)[::-1]
    return files, np.array(image.TransformContinuousIndexToPhysicalPoint(centre.tolist()))


def preprocess(files, transpose, spacing):
    dimension = len(spacing)
    content = plans()
    content["transpose_forward"] = list(transpose)
    content["transpose_backward"] = np.argsort(transpose).tolist()
    content["configurations"] = {"c": configuration([16] * dimension, spacing, dimension)}
    manager = PlansManager(content)
    data, seg, properties = DefaultPreprocessor(verbose=False).run_case(
        [str(files[0])], str(files[1]), manager, manager.get_configuration("c"), dataset_json()
    )
    return data, seg, properties, manager.transpose_backward


@pytest.mark.parametrize("spacing", [[3.0, 3.0, 3.0], [4.0, 2.0, 3.1], [2.5, 3.0]])
@pytest.mark.parametrize("transpose", [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
@pytest.mark.parametrize("direction", [AXIAL, CORONAL, OBLIQUE])
def test_the_blob_lies_where_the_scan_has_it(tmp_path, direction, transpose, spacing):
    files, expected = scan(tmp_path, direction)
    data, seg, properties, back = preprocess(files, transpose, spacing)
    geometry = preprocessed_geometry(properties, data.shape[1:], back)
    turned = (seg[0] == 1).transpose(back)
    assert turned.shape == geometry.shape
    centre = np.array(ndimage.center_of_mass(turned))[::-1]
    axes = np.array(geometry.direction).reshape(3, 3)
    found = np.array(geometry.origin) + axes @ (centre * geometry.spacing)
    assert np.abs(found - expected).max() < 0.5 * max(geometry.spacing)


@pytest.mark.parametrize("direction", [AXIAL, CORONAL, OBLIQUE])
def test_masks_go_to_the_slices_and_back(tmp_path, direction):
    files, _ = scan(tmp_path, direction)
    data, seg, properties, back = preprocess(files, (1, 0, 2), [3.0, 3.0, 3.0])
    case = PreprocessedCase(data[0], seg[0] >= 0, properties, back, SliceSettings())
    blob = seg[0] == 1
    shown = case.on_slices(blob)
    # The blob is the brightest there is, so the slices themselves tell where it must be.
    bright = case.stack.pixels > 200
    assert 2 * (shown & bright).sum() / (shown.sum() + bright.sum()) > 0.8
    again = case.from_slices(shown)
    assert 2 * (again & blob).sum() / (again.sum() + blob.sum()) > 0.9
    assert shown.sum() * np.prod(case.stack.geometry.spacing) / 1000 == pytest.approx(
        blob.sum() * case.voxel_ml, rel=0.25
    )


def test_readers_without_a_direction_are_taken_to_be_axial(tmp_path):
    files, _ = scan(tmp_path, AXIAL)
    data, _, properties, back = preprocess(files, (0, 1, 2), [3.0, 3.0, 3.0])
    del properties["sitk_stuff"]
    geometry = preprocessed_geometry(properties, data.shape[1:], back)
    assert geometry.direction == AXIAL
    assert geometry.spacing == pytest.approx((3, 3, 3), rel=0.05)
