"""Where a voxel of nnU-Net's preprocessed array lies, held against the scan's own header."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from helpers.tiny_nnunet import configuration, dataset_json, plans
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from scipy import ndimage

from clisc_nnunet.io.volume import read_geometry, read_volume, same_grid
from clisc_nnunet.metrics import dice
from clisc_nnunet.settings import SliceSettings
from clisc_nnunet.stages.slice_extraction import make_slices
from clisc_nnunet.trainers.preprocessed_case import (
    PreprocessedCase,
    preprocessed_geometry,
    scan_geometry,
)

AXIAL = (1, 0, 0, 0, 1, 0, 0, 0, 1)
CORONAL = (1, 0, 0, 0, 0, 1, 0, -1, 0)
# Sagittal, and turned by 0.2 and 0.15 rad: no two axes can be taken for each other.
TURNED = np.array([[1, 0, 0], [0, np.cos(0.2), -np.sin(0.2)], [0, np.sin(0.2), np.cos(0.2)]])
TILTED = np.array([[np.cos(0.15), -np.sin(0.15), 0], [np.sin(0.15), np.cos(0.15), 0], [0, 0, 1]])
SAGITTAL = np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]])
OBLIQUE = tuple((TURNED @ TILTED @ SAGITTAL).ravel().tolist())
DIRECTIONS = pytest.mark.parametrize("direction", [AXIAL, CORONAL, OBLIQUE])
# (1, 0, 2) is its own inverse; the last two are each other's.
TRANSPOSES = pytest.mark.parametrize("transpose", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (1, 2, 0)])
# Coarser, finer, coarser along some axes alone, and planes left as they are.
COARSE, FINE, MIXED, FLAT = [6.0, 5.0, 7.0], [1.7, 1.4, 1.9], [2.0, 6.0, 3.4], [4.5, 5.5]
SPACING = (2.0, 2.5, 3.0)  # of the scan, (x, y, z)


def scan(tmp_path, direction):
    """A brain amid much background with a soft bright blob off its centre; returns its place.

    Returns
    -------
    files : tuple of 2 Path
        Scan, and a mask of the blob.
    centre : float ndarray of shape (3,)
        The blob's centre in millimetres.
    """
    at = np.indices((40, 44, 36))
    step = np.array(SPACING[::-1]).reshape(3, 1, 1, 1)
    blob_at = np.array([24.3, 16.6, 21.2])  # plane, row, column
    brain = (((at - np.array([20, 21, 18]).reshape(3, 1, 1, 1)) * step / 33) ** 2).sum(0) < 1
    distance = np.sqrt((((at - blob_at.reshape(3, 1, 1, 1)) * step) ** 2).sum(0))
    array = brain * (100 + 200 * np.exp(-0.5 * (distance / 6) ** 2))
    files = tmp_path / "scan_0000.nii.gz", tmp_path / "scan.nii.gz"
    for file, content in zip(files, (array, brain & (distance < 9)), strict=True):
        image = sitk.GetImageFromArray(content.astype(np.float32))
        image.SetSpacing(SPACING)
        image.SetOrigin((-31.0, 12.0, 7.0))
        image.SetDirection(direction)
        sitk.WriteImage(image, str(file))
    return files, np.array(image.TransformContinuousIndexToPhysicalPoint(blob_at[::-1].tolist()))


def preprocess(files, transpose, spacing, reader="SimpleITKIO"):
    """What nnU-Net makes of a scan: data, label, properties, and the way back to its axes."""
    dimension = len(spacing)
    content = plans()
    content["transpose_forward"] = list(transpose)
    content["transpose_backward"] = np.argsort(transpose).tolist()
    content["configurations"] = {"c": configuration([16] * dimension, spacing, dimension)}
    content["image_reader_writer"] = reader
    manager = PlansManager(content)
    data, seg, properties = DefaultPreprocessor(verbose=False).run_case(
        [str(files[0])], str(files[1]), manager, manager.get_configuration("c"), dataset_json()
    )
    return data, seg, properties, manager.transpose_backward


def place(weights, geometry):
    """Centre of mass in millimetres, by SimpleITK; (plane, row, column)."""
    image = sitk.Image(geometry.size, sitk.sitkUInt8)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    centre = ndimage.center_of_mass(weights)[::-1]
    return np.array(image.TransformContinuousIndexToPhysicalPoint(centre))


def brightness(array):
    """What rises above half of the range: the blob, and nothing of the brain's rim."""
    return np.clip(array - (array.min() + array.max()) / 2, 0, None)


@pytest.mark.parametrize("spacing", [COARSE, FINE, MIXED, FLAT])
@TRANSPOSES
@DIRECTIONS
def test_the_blob_lies_where_the_scan_has_it(tmp_path, direction, transpose, spacing):
    files, expected = scan(tmp_path, direction)
    data, seg, properties, back = preprocess(files, transpose, spacing)
    geometry = preprocessed_geometry(properties, data.shape[1:], back)
    assert data.shape[1:] != (40, 44, 36)  # cropped and resampled indeed
    turned = data[0].transpose(back)
    assert turned.shape == geometry.shape
    off = np.linalg.norm(place(brightness(turned), geometry) - expected)
    assert off < 0.12 * max(geometry.spacing)
    # The label has steps where the image is smooth.
    label = seg[0].transpose(back) == 1
    assert np.linalg.norm(place(label, geometry) - expected) < 0.5 * min(geometry.spacing)


@TRANSPOSES
def test_the_spacing_is_the_one_that_fills_the_cropped_box(tmp_path, transpose):
    files, _ = scan(tmp_path, AXIAL)
    data, _, properties, back = preprocess(files, transpose, COARSE)
    geometry = preprocessed_geometry(properties, data.shape[1:], back)
    box = np.array(properties["shape_after_cropping_and_before_resampling"])[back][::-1] * SPACING
    assert np.array(geometry.size) * geometry.spacing == pytest.approx(box)
    assert geometry.voxel_ml == pytest.approx(np.prod(box) / np.prod(geometry.size) / 1000)


def test_without_cropping_and_resampling_it_is_the_scans_own_grid(tmp_path):
    files, _ = scan(tmp_path, OBLIQUE)
    image = sitk.ReadImage(str(files[0])) + 1.0
    sitk.WriteImage(image, str(files[0]))
    data, _, properties, back = preprocess(files, (2, 0, 1), np.array(SPACING)[[0, 2, 1]].tolist())
    geometry = preprocessed_geometry(properties, data.shape[1:], back)
    assert geometry.size == image.GetSize()
    assert geometry.spacing == pytest.approx(image.GetSpacing())
    assert geometry.origin == pytest.approx(image.GetOrigin())
    assert geometry.direction == pytest.approx(image.GetDirection(), abs=1e-6)


@pytest.fixture(params=[(2, 0, 1), (1, 2, 0)], ids=str)
def preprocessed(request, tmp_path):
    """Returns a function that makes a case, its blob and the blob's place in millimetres."""

    def make(direction, spacing):
        files, expected = scan(tmp_path, direction)
        data, seg, properties, back = preprocess(files, request.param, spacing)
        image, inside = data[0], seg[0] >= 0
        before = image.copy(), inside.copy()
        case = PreprocessedCase(image, inside, properties, back, SliceSettings())
        assert np.array_equal(image, before[0]) and np.array_equal(inside, before[1])
        return case, inside, seg[0] == 1, expected

    return make


@pytest.mark.parametrize(
    ("direction", "spacing"), [(AXIAL, FLAT), (CORONAL, MIXED), (OBLIQUE, FLAT)]
)
def test_slices_show_the_brain_where_the_patient_has_it(preprocessed, direction, spacing):
    case, inside, _, expected = preprocessed(direction, spacing)
    stack = case.stack
    off = np.linalg.norm(place(brightness(stack.pixels.astype(float)), stack.geometry) - expected)
    assert off < 0.5 * max(SPACING)
    # Axial, whatever the scan was: to the left, to the back, upwards.
    axes = np.array(stack.geometry.direction).reshape(3, 3)
    assert (np.diag(axes) > 0.9).all()
    seen_ml = stack.brain.sum() * stack.geometry.voxel_ml
    assert seen_ml == pytest.approx(inside.sum() * case.voxel_ml, rel=0.05)
    assert not stack.pixels[~stack.brain].any()


@pytest.mark.parametrize(
    ("direction", "spacing"), [(AXIAL, FLAT), (CORONAL, MIXED), (OBLIQUE, FLAT)]
)
def test_masks_go_to_the_slices_and_back(preprocessed, direction, spacing):
    case, _, blob, expected = preprocessed(direction, spacing)
    before = blob.copy()
    shown = case.on_slices(blob)
    assert shown.dtype == bool and shown.shape == case.stack.pixels.shape
    assert np.linalg.norm(place(shown, case.stack.geometry) - expected) < 0.5 * max(SPACING)
    volume = blob.sum() * case.voxel_ml
    assert shown.sum() * case.stack.geometry.voxel_ml == pytest.approx(volume, rel=0.15)
    drawn = shown.copy()
    again = case.from_slices(shown)
    assert again.dtype == bool and again.shape == blob.shape
    assert dice(again, blob) > 0.85
    middle, wanted = (np.array(ndimage.center_of_mass(mask)) for mask in (again, blob))
    assert np.abs(middle - wanted).max() < 0.35
    assert np.array_equal(blob, before) and np.array_equal(shown, drawn)


def test_an_empty_mask_stays_empty_and_a_full_one_fills_the_brain(preprocessed):
    case, inside, blob, _ = preprocessed(CORONAL, MIXED)
    assert not case.on_slices(np.zeros_like(blob)).any()
    assert not case.from_slices(np.zeros(case.stack.pixels.shape, bool)).any()
    assert dice(case.on_slices(inside), case.stack.brain) > 0.99
    assert dice(case.from_slices(case.stack.brain), inside) > 0.97


def test_readers_without_a_direction_are_taken_to_be_axial(tmp_path):
    files, _ = scan(tmp_path, AXIAL)
    data, _, properties, back = preprocess(files, (2, 0, 1), FINE)
    known = preprocessed_geometry(properties, data.shape[1:], back)
    del properties["sitk_stuff"]
    geometry = preprocessed_geometry(properties, data.shape[1:], back)
    assert geometry.direction == AXIAL
    assert geometry.spacing == known.spacing
    offset = np.array(known.origin) - geometry.origin
    assert offset == pytest.approx((-31.0, 12.0, 7.0), abs=1e-6)


@pytest.mark.parametrize(
    "reader", ["NibabelIO", "NibabelIOWithReorient", "SimpleITKIOWithReorient"]
)
@pytest.mark.parametrize("direction", [AXIAL, CORONAL])
def test_other_readers_put_the_blob_in_the_same_place(tmp_path, direction, reader):
    files, expected = scan(tmp_path, direction)
    data, _, properties, back = preprocess(files, (2, 0, 1), COARSE, reader)
    geometry = preprocessed_geometry(properties, data.shape[1:], back)
    off = np.linalg.norm(place(brightness(data[0].transpose(back)), geometry) - expected)
    assert off < 0.12 * max(geometry.spacing)


@TRANSPOSES
@DIRECTIONS
def test_the_scan_is_known_again_by_its_grid(tmp_path, direction, transpose):
    files, _ = scan(tmp_path, direction)
    _, _, properties, back = preprocess(files, transpose, MIXED)
    assert same_grid(scan_geometry(properties, back), read_geometry(files[0]))


@pytest.mark.parametrize("direction", [AXIAL, OBLIQUE])
def test_slices_that_were_kept_are_shown_as_they_are(tmp_path, direction):
    files, expected = scan(tmp_path, direction)
    kept = make_slices(read_volume(files[0]), SliceSettings(plane_mm=4.0))
    data, seg, properties, back = preprocess(files, (2, 0, 1), MIXED)
    inside, blob = seg[0] >= 0, seg[0] == 1
    # The image itself is not looked at.
    case = PreprocessedCase(0 * data[0], inside, properties, back, SliceSettings(), kept)
    assert case.stack is kept
    shown = case.on_slices(blob)
    assert np.linalg.norm(place(shown, kept.geometry) - expected) < 0.5 * max(SPACING)
    assert dice(case.from_slices(shown), blob) > 0.8
