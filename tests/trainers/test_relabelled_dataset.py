import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_nnunet import CASES, make_dataset

from clisc_nnunet.trainers.relabelled_dataset import (
    RELABELLED_DATASETS,
    RelabelledBlosc2,
    RelabelledNumpy,
    SampledLabel,
    write_overlay,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("heads"), CASES[:2]) / "nnUNetPlans_3d"


@pytest.fixture(scope="module", params=["blosc2", "numpy"])
def stock(request, folder, tmp_path_factory):
    """nnU-Net's dataset of two heads, in either of its formats."""
    by_name = {kind.__name__: kind for kind in RELABELLED_DATASETS}
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
    dataset = RELABELLED_DATASETS[type(stock)](stock.source_folder)
    dataset.overlay_folder = tmp_path
    return dataset, mask, seg


def test_the_new_label_is_loaded_with_the_outside_as_it_was(overlaid):
    dataset, mask, seg = overlaid
    _, label, _, _ = dataset.load_case(CASES[0])
    label = np.asarray(label[:])
    assert np.array_equal(label < 0, seg < 0)
    assert label.shape == seg.shape
    assert np.array_equal(label[0] == 1, mask & (seg[0] >= 0))
    assert set(np.unique(label)) == {-1, 0, 1}


def test_a_case_that_a_person_has_checked_keeps_its_own_label(overlaid, stock):
    dataset, _, seg = overlaid
    dataset.own_labels = frozenset([CASES[0]])
    _, label, _, properties = dataset.load_case(CASES[0])
    assert np.array_equal(label[:], seg)
    theirs = stock.load_case(CASES[0])[3]["class_locations"][1]
    assert np.array_equal(properties["class_locations"][1], theirs)


def test_a_patch_is_read_as_the_loaders_read_it(overlaid):
    dataset, mask, _ = overlaid
    label = dataset.load_case(CASES[0])[1]
    assert np.array_equal(label[0:1, 4:10, 7:15, 9:13][0] == 1, mask[4:10, 7:15, 9:13])


def test_image_and_other_properties_are_nnunets(overlaid, stock):
    ours, theirs = overlaid[0].load_case(CASES[0]), stock.load_case(CASES[0])
    assert np.array_equal(ours[0][:], theirs[0][:])
    assert ours[2] is None and theirs[2] is None
    assert ours[3].keys() == theirs[3].keys()
    assert ours[3]["spacing"] == theirs[3]["spacing"]
    assert ours[3]["bbox_used_for_cropping"] == theirs[3]["bbox_used_for_cropping"]


def test_without_a_folder_it_is_nnunets_dataset(stock):
    ours, theirs = (
        dataset.load_case(CASES[0])
        for dataset in (RELABELLED_DATASETS[type(stock)](stock.source_folder), stock)
    )
    assert np.array_equal(ours[1][:], theirs[1][:])
    assert np.array_equal(ours[3]["class_locations"][1], theirs[3]["class_locations"][1])


def test_what_lies_outside_of_the_brain_is_never_tumour(stock, tmp_path):
    seg = np.asarray(stock.load_case(CASES[0])[1][:])
    full, before = np.ones(seg.shape[1:], bool), seg.copy()
    assert (seg < 0).any()
    write_overlay(tmp_path, CASES[0], full, seg, (16, 24, 16))
    assert full.all() and np.array_equal(seg, before)
    dataset = RELABELLED_DATASETS[type(stock)](stock.source_folder)
    dataset.overlay_folder = tmp_path
    _, label, _, properties = dataset.load_case(CASES[0])
    assert np.array_equal(label[:] == 1, seg >= 0)
    assert (seg[tuple(properties["class_locations"][1].T)] >= 0).all()


def test_each_case_has_its_own_label_and_a_later_one_replaces_it(overlaid, tmp_path):
    dataset, mask, seg = overlaid
    other = np.roll(mask, 3, axis=2) & (seg[0] >= 0)
    write_overlay(tmp_path, CASES[1], other, seg, (24, 16))  # a 2d plan's patch
    assert np.array_equal(np.asarray(dataset.load_case(CASES[0])[1][:])[0] == 1, mask)
    label, locations = (dataset.load_case(CASES[1])[k] for k in (1, 3))
    assert np.array_equal(np.asarray(label[:])[0] == 1, other)
    assert other[tuple(locations["class_locations"][1].T[1:])].all()
    first = dataset.load_case(CASES[0])[3]["class_locations"][1]
    assert mask[tuple(first.T[1:])].all()
    write_overlay(tmp_path, CASES[0], other, seg, (16, 24, 16))
    assert np.array_equal(np.asarray(dataset.load_case(CASES[0])[1][:])[0] == 1, other)


def hashes(folder):
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_preprocessed_folder_stays_as_it_is(stock, tmp_path):
    before = hashes(stock.source_folder)
    assert before
    seg = np.asarray(stock.load_case(CASES[0])[1][:])
    write_overlay(tmp_path, CASES[0], np.zeros(seg.shape[1:], bool), seg, (16, 24, 16))
    dataset = RELABELLED_DATASETS[type(stock)](stock.source_folder)
    dataset.overlay_folder = tmp_path
    for case in CASES[:2]:
        np.asarray(dataset.load_case(case)[1][:])
    assert hashes(stock.source_folder) == before


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
    dataset = RELABELLED_DATASETS[type(stock)](stock.source_folder)
    dataset.overlay_folder = tmp_path
    assert len(dataset.load_case(CASES[0])[3]["class_locations"][1]) == 0


def test_worker_processes_get_the_dataset_with_its_labels(overlaid):
    dataset, _, _ = overlaid
    again = pickle.loads(pickle.dumps(dataset))
    assert again.overlay_folder == dataset.overlay_folder
    assert again.identifiers == dataset.identifiers
    assert np.array_equal(again.load_case(CASES[0])[1][:], dataset.load_case(CASES[0])[1][:])


def test_both_formats_of_nnunet_are_known():
    assert set(RELABELLED_DATASETS.values()) == {RelabelledBlosc2, RelabelledNumpy}
    assert all(issubclass(ours, theirs) for theirs, ours in RELABELLED_DATASETS.items())


@pytest.fixture
def soft(stock, tmp_path):
    """A case whose label is a ramp of probabilities."""
    seg = np.asarray(stock.load_case(CASES[0])[1][:])
    ramp = np.broadcast_to(np.linspace(0, 1, seg.shape[-1], dtype=np.float32), seg.shape[1:])
    write_overlay(tmp_path, CASES[0], ramp, seg, (16, 24, 16), soft=True)
    dataset = RELABELLED_DATASETS[type(stock)](stock.source_folder)
    dataset.overlay_folder = tmp_path
    return dataset, ramp, seg


def test_probabilities_are_a_mask_at_a_half(soft):
    dataset, ramp, seg = soft
    _, label, _, properties = dataset.load_case(CASES[0])
    assert label.shape == seg.shape
    found = label[:]
    assert found.dtype == np.int8
    assert np.array_equal(found < 0, seg < 0)
    assert np.array_equal(found[0] == 1, (ramp > 0.5) & (seg[0] >= 0))
    places = properties["class_locations"][1]
    assert len(places) and (found[tuple(places.T)] == 1).all()


def test_training_draws_a_mask_at_each_visit(soft):
    dataset, ramp, seg = soft
    dataset.sample_thresholds = True
    masks = [dataset.load_case(CASES[0])[1][:][0] == 1 for _ in range(200)]
    inside = seg[0] >= 0
    assert len({mask.sum() for mask in masks}) > 8
    share = np.mean(masks, axis=0)
    assert share[inside & (ramp < 0.19)].max() == 0
    assert share[inside & (ramp > 0.82)].min() == 1
    assert share[inside & (np.abs(ramp - 0.5) < 0.03)].mean() == pytest.approx(0.5, abs=0.15)


def test_a_patch_of_probabilities_is_read_as_the_loaders_read_it(soft):
    from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd

    label = soft[0].load_case(CASES[0])[1]
    box = [[-3, 5], [2, 9], [4, 12]]
    patch = crop_and_pad_nd(label, box, -1, cast_cropped_to=np.int16)
    assert patch.shape == (1, 8, 7, 8)
    assert patch.dtype == np.int16
    assert (patch[:, :3] == -1).all()
    assert np.array_equal(patch[:, 3:], label[:, 0:5, 2:9, 4:12])


def test_rounding_to_percent_changes_no_mask(stock, tmp_path):
    seg = np.asarray(stock.load_case(CASES[0])[1][:])
    close = np.where(np.indices(seg.shape[1:]).sum(axis=0) % 2, 0.499, 0.501).astype(np.float32)
    write_overlay(tmp_path, CASES[0], close, seg, (16, 24, 16), soft=True)
    dataset = RELABELLED_DATASETS[type(stock)](stock.source_folder)
    dataset.overlay_folder = tmp_path
    assert np.array_equal(dataset.load_case(CASES[0])[1][:][0] == 1, (close > 0.5) & (seg[0] >= 0))


def test_a_sampled_label_travels_to_worker_processes():
    label = pickle.loads(pickle.dumps(SampledLabel(np.array([[-1, 20, 80]], np.int8), 50)))
    assert label[:].tolist() == [[-1, 0, 1]]
