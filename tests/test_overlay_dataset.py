import pickle

import numpy as np
import pytest
from tiny_nnunet import CASES, make_dataset

from clisc_nnunet.trainers.overlay_dataset import (
    OVERLAID,
    OverlaidBlosc2,
    OverlaidNumpy,
    write_overlay,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("heads"), CASES[:2]) / "nnUNetPlans_3d"


@pytest.fixture(scope="module", params=["blosc2", "numpy"])
def stock(request, folder, tmp_path_factory):
    """nnU-Net's dataset of two heads, in either of its formats."""
    by_name = {kind.__name__: kind for kind in OVERLAID}
    dataset = by_name["nnUNetDatasetBlosc2"](str(folder))
    if request.param == "blosc2":
        return dataset
    other = tmp_path_factory.mktemp("npz")
    for case in CASES[:2]:
        data, seg, _, properties = dataset.load_case(case)
        by_name["nnUNetDatasetNumpy"].save_case(data[:], seg[:], properties, str(other / case))
    return by_name["nnUNetDatasetNumpy"](str(other))


@pytest.fixture
def overlaid(stock, tmp_path):
    """The same with a new label of the first case: one corner block of the brain."""
    seg = stock.load_case(CASES[0])[1]
    seg = np.asarray(seg[:])
    mask = np.zeros(seg.shape[1:], bool)
    mask[5:9, 8:14, 8:14] = True
    write_overlay(tmp_path, CASES[0], mask & (seg[0] >= 0), seg, (16, 24, 16))
    dataset = OVERLAID[type(stock)](stock.source_folder)
    dataset.overlay_folder = tmp_path
    return dataset, mask, seg


def test_the_new_label_is_loaded_with_the_outside_as_it_was(overlaid):
    dataset, mask, seg = overlaid
    _, label, _, _ = dataset.load_case(CASES[0])
    label = np.asarray(label[:])
    assert np.array_equal(label < 0, seg < 0)
    assert np.array_equal(label[0] == 1, mask & (seg[0] >= 0))


def test_oversampling_aims_at_the_new_label(overlaid):
    dataset, mask, _ = overlaid
    _, _, _, properties = dataset.load_case(CASES[0])
    found = properties["class_locations"][1]
    assert len(found) > 0
    assert all(mask[tuple(place[1:])] and place[0] == 0 for place in found)


def test_a_case_without_a_new_label_is_as_before(overlaid, stock):
    dataset, _, _ = overlaid
    ours, theirs = dataset.load_case(CASES[1]), stock.load_case(CASES[1])
    assert np.array_equal(ours[1][:], theirs[1][:])
    assert ours[3]["class_locations"].keys() == theirs[3]["class_locations"].keys()
    assert np.array_equal(ours[0][:], theirs[0][:])


def test_an_empty_label_has_no_locations(stock, tmp_path):
    seg = np.asarray(stock.load_case(CASES[0])[1][:])
    write_overlay(tmp_path, CASES[0], np.zeros(seg.shape[1:], bool), seg, (16, 24, 16))
    dataset = OVERLAID[type(stock)](stock.source_folder)
    dataset.overlay_folder = tmp_path
    assert len(dataset.load_case(CASES[0])[3]["class_locations"][1]) == 0


def test_worker_processes_get_the_dataset_with_its_labels(overlaid):
    dataset, _, _ = overlaid
    again = pickle.loads(pickle.dumps(dataset))
    assert again.overlay_folder == dataset.overlay_folder
    assert np.array_equal(again.load_case(CASES[0])[1][:], dataset.load_case(CASES[0])[1][:])


def test_both_formats_of_nnunet_are_known():
    assert set(OVERLAID.values()) == {OverlaidBlosc2, OverlaidNumpy}
    assert all(issubclass(ours, theirs) for theirs, ours in OVERLAID.items())
