from functools import partial

import numpy as np
import pytest
import SimpleITK as sitk

from clisc_nnunet.io.volume import Geometry
from clisc_nnunet.phantoms.phantom import Phantom
from clisc_nnunet.phantoms.scan_grid import ScanGrid, on_grid, typical_grid

SIZE = (20, 20, 20)


def geometry(spacing, code="LPS", turn=0.0):
    axes = np.reshape(sitk.DICOMOrientImageFilter.GetDirectionCosinesFromOrientation(code), (3, 3))
    c, s = np.cos(turn), np.sin(turn)
    axes = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ axes
    return Geometry(SIZE, spacing, (0.0, 0.0, 0.0), tuple(axes.ravel()))


def test_the_most_frequent_axes_and_their_median_spacing():
    sagittal = partial(geometry, code="PIR")
    scans = [
        geometry((9.0, 9.0, 9.0)),
        sagittal((1.0, 1.0, 1.2), turn=0.2),
        sagittal((1.0, 0.9, 3.0)),
        sagittal((0.5, 1.0, 1.0)),
    ]
    assert typical_grid(scans) == ScanGrid((1.0, 1.0, 1.2), "PIR")


@pytest.fixture
def phantom():
    """A head of 48 x 60 x 40 mm with a tumour at its left, back and top."""
    shape, spacing = (32, 40, 48), 1.5
    plane, row, column = np.indices(shape)
    head = (plane > 2) & (plane < 29) & (row > 2) & (row < 37) & (column > 2) & (column < 45)
    tumour = (abs(plane - 24) < 4) & (abs(row - 30) < 5) & (abs(column - 38) < 5)
    flair = head * 1.0 + tumour * 0.5
    return Phantom(flair.astype(np.float32), tumour, head, (spacing,) * 3, {})


def centre_mm(array, grid):
    index = np.argwhere(array).mean(axis=0)[::-1]
    return np.asarray(grid.origin) + grid.axes @ (index * np.asarray(grid.spacing))


@pytest.mark.parametrize(
    "grid",
    [
        ScanGrid((1.5, 1.5, 1.5), "LPS"),
        ScanGrid((1.0, 1.0, 5.0), "LPS"),
        ScanGrid((0.9, 0.9, 1.2), "PIR"),
        ScanGrid((2.0, 2.5, 3.0), "RAS"),
    ],
)
def test_a_phantom_stays_where_it_is_in_the_voxels_of_the_scans(phantom, grid):
    flair, tumour, found = on_grid(phantom, grid)
    assert found.spacing == grid.spacing_mm
    assert flair.shape == tumour.shape == found.shape
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(found.direction)
    assert code == grid.orientation
    for new, old in ((tumour, phantom.tumour), (flair > 0, phantom.flair > 0)):
        expected = centre_mm(old, phantom.geometry)
        np.testing.assert_allclose(centre_mm(new, found), expected, atol=0.8)
        ml = old.sum() * phantom.geometry.voxel_ml
        assert new.sum() * found.voxel_ml == pytest.approx(ml, rel=0.2)
    assert not (tumour & (flair == 0)).any()


def test_the_same_voxels_change_nothing(phantom):
    flair, tumour, found = on_grid(phantom, ScanGrid((1.5, 1.5, 1.5), "LPS"))
    assert found == phantom.geometry
    np.testing.assert_allclose(flair, phantom.flair, atol=1e-6)
    np.testing.assert_array_equal(tumour, phantom.tumour)
