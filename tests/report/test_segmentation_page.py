"""The page of clisc_segment: planes, sides and figures."""

import re

import numpy as np
import pytest
from helpers.acquisitions import turned

from clisc_nnunet.io.volume import Volume
from clisc_nnunet.report import segmentation_page
from clisc_nnunet.report.segmentation_page import (
    SegmentationCard,
    mask_pictures,
    render_segmentations,
)


@pytest.fixture
def drawn(monkeypatch):
    """Pixels and outlined masks, in place of their encoded forms."""
    monkeypatch.setattr(segmentation_page, "grey_picture", lambda pixels: pixels)
    monkeypatch.setattr(segmentation_page, "outline", lambda mask: mask)


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PIR", "SLA"])
def test_pictures_show_the_blob_where_a_reader_expects_it(head, drawn, orientation):
    volume, blob = head
    scan = turned(volume, orientation)
    mask = turned(Volume(blob.astype(np.float32), volume.geometry), orientation).array > 0.5
    axial, coronal, sagittal = mask_pictures(scan, scan.array != 0, mask)
    # The blob lies to the patient's left, posterior and superior.
    for picture, right, below in ((axial, True, True), (coronal, True, False)):
        rows, columns = np.nonzero(picture.label)
        height, width = picture.label.shape
        assert (columns.mean() > width / 2) is np.bool_(right)
        assert (rows.mean() > height / 2) is np.bool_(below)
    rows, columns = np.nonzero(sagittal.label)
    assert rows.mean() < sagittal.label.shape[0] / 2
    assert columns.mean() > sagittal.label.shape[1] / 2
    for picture in (axial, coronal, sagittal):
        assert picture.pixels[picture.label].mean() > picture.pixels.mean() + 50
    assert axial.sides == "RL" and coronal.sides == "RL" and sagittal.sides == "AP"


def test_extents_are_in_millimetres(head):
    volume, blob = head
    thick = Volume(volume.array[::3], volume.geometry)
    grid = thick.geometry
    thick = Volume(
        thick.array,
        type(grid)((70, 80, 20), (2.0, 2.0, 6.0), grid.origin, grid.direction),
    )
    axial, coronal, _ = mask_pictures(thick, thick.array != 0, blob[::3])
    assert coronal.width_mm == axial.width_mm
    assert coronal.height_mm / coronal.width_mm == pytest.approx(20 * 6 / (70 * 2), abs=0.15)


def test_an_empty_mask_shows_the_middle_of_the_head(head):
    volume, blob = head
    pictures = mask_pictures(volume, volume.array != 0, np.zeros_like(blob))
    assert len(pictures) == 3 and not any(picture.label for picture in pictures)
    assert mask_pictures(volume, np.zeros_like(blob), np.zeros_like(blob))


def page(**changes):
    cards = [
        SegmentationCard("one", 12.34, 1400.0, 0.5),
        SegmentationCard("<two>", 0.0, 1300.0),
        SegmentationCard("three", 20.0, 1300.0, 0.25),
    ]
    facts = {"network": "bundled network", "written": "today", "version": "0"}
    return render_segmentations(cards, {"bad": "bad.nii: found <x>"}, **facts | changes)


def test_the_page_says_what_was_found():
    text = page()
    tiles = re.findall(r"<dd>([^<]+)", text)
    assert tiles == ["2", "1", "1", "16.2"]
    assert "12.3 ml" in text and "no tumour" in text
    assert "quality 0.50, estimated" in text and text.count(", estimated</p>") == 2
    assert "&lt;two&gt;" in text and "found &lt;x&gt;" in text and "<two>" not in text
    assert "http" not in text.replace("http-equiv", "")


def test_without_scores_the_page_explains_none():
    text = render_segmentations([], {}, network="n", written="today", version="0")
    assert "Quality" not in text and "0 scans" in text
