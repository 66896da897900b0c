"""The commands as functions; examples in docstrings run here."""

import ast
import doctest
import subprocess
import sys
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
import SimpleITK as sitk

import clisc_nnunet as clisc
from clisc_nnunet import api
from clisc_nnunet.dataset_conversion.options import ConversionOptions
from clisc_nnunet.evaluation.evaluate import EvaluationOptions
from clisc_nnunet.inference import segment_image
from clisc_nnunet.io.volume import read_geometry, read_mask
from clisc_nnunet.metrics import dice
from clisc_nnunet.phantoms.settings import KINDS
from clisc_nnunet.quality_control.score_predictions import QualityOptions

EXAMPLES = {
    test.name.rpartition(".")[2]: test
    for module in (api, segment_image)
    for test in doctest.DocTestFinder().find(module)
    if test.examples
}
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    clisc.make_phantoms(folder, 1, seed=500, spacing_mm=3, tumour_free=0)
    return folder


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=SLOW if n == "make_pseudo_labels" else ()) for n in EXAMPLES]
)
def test_examples_of_docstrings(name):
    report: list[str] = []
    runner = doctest.DocTestRunner()
    assert runner.run(EXAMPLES[name], out=report.append).failed == 0, "".join(report)


def test_every_function_has_an_example():
    modules = (api.__name__, segment_image.__name__)
    functions = {name for name, module in clisc._PUBLIC.items() if module in modules}
    assert functions == EXAMPLES.keys()


# Options that have another name in the function, or are for the terminal and clusters alone.
OTHERWISE = {
    ConversionOptions: {
        "dataset_id", "name", "root", "preset", "settings_file", "overrides", "retry_failed",
        "command", "stage", "part", "parts", "scheduler",
    },
    EvaluationOptions: set(),
    QualityOptions: {"command"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("function", "options"),
    zip((api.make_pseudo_labels, api.evaluate, api.estimate_quality), OTHERWISE, strict=True),
)
def test_functions_have_the_options_of_their_commands(function, options):
    missing = {field.name for field in fields(options)} - signature(function).parameters.keys()
    assert missing == OTHERWISE[options]


def test_phantoms_of_all_kinds_can_be_made():
    assert get_args(get_type_hints(api.make_phantoms)["kinds"]) == tuple(KINDS)


def test_the_import_loads_nothing_heavy():
    code = (
        "import sys, clisc_nnunet as c; before = set(sys.modules); c.evaluate;"
        "print({'numpy', 'torch', 'SimpleITK'} & set(sys.modules), len(dir(c)) > 8)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set() True\n"


def test_type_checkers_see_the_public_names():
    tree = ast.parse(Path(clisc.__file__).with_suffix(".pyi").read_text())
    names = {n.names[0].asname: n.module for n in tree.body if isinstance(n, ast.ImportFrom)}
    assert names == clisc._PUBLIC
    with pytest.raises(AttributeError, match="no attribute 'segmnt'"):
        clisc.segmnt  # noqa: B018


def test_every_kind_of_image_gets_the_same_mask(phantom):
    folder = phantom / "images" / "phantom_0000"
    path = folder / "phantom_0000_flair.nii.gz"
    image = sitk.ReadImage(str(path))
    network = clisc.load_network(device="cpu")
    expected = clisc.segment(path, network, quality=True)
    assert 0 < expected.quality < 1 and expected.brain_ml > expected.tumour_ml > 5
    array, spacing = sitk.GetArrayFromImage(image), image.GetSpacing()[::-1]
    for found in (
        clisc.segment(str(folder), network),
        clisc.segment(image, network),
        clisc.segment(array, network, spacing=spacing),
    ):
        np.testing.assert_array_equal(found.array, expected.array)
        assert found.quality is None
    assert clisc.load_network(network) is network


def test_masks_are_written_and_handed_over(phantom, tmp_path):
    path = phantom / "images" / "phantom_0000" / "phantom_0000_flair.nii.gz"
    mask = clisc.segment(path)
    mask.save(tmp_path / "new" / "mask.nii.gz")
    geometry = read_geometry(tmp_path / "new" / "mask.nii.gz")
    written = read_mask(tmp_path / "new" / "mask.nii.gz", geometry)
    np.testing.assert_array_equal(written, mask.array)
    assert repr(mask).startswith("<Mask of ") and f"tumour {mask.tumour_ml:.1f} ml" in repr(mask)
    truth = read_mask(phantom / "labels" / "phantom_0000.nii.gz", geometry)
    assert dice(mask.array, truth) > 0.5
    np.testing.assert_array_equal(mask.to_nibabel().get_fdata().T > 0, mask.array)
    assert mask.to_sitk().GetOrigin() == geometry.origin


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda folder: clisc.segment(folder / "no.nii.gz"), "no.nii.gz: found"),
        (lambda folder: clisc.segment("x", model="999"), "found|999"),
        (lambda folder: clisc.make_pseudo_labels(folder, folder / "out"), "named like Dataset501"),
        (lambda folder: clisc.evaluate(folder, folder), "expected two different folders"),
        (lambda folder: clisc.estimate_quality(folder, folder / "no"), "no such folder"),
    ],
)
def test_mistakes_are_one_line(call, line, tmp_path):
    with pytest.raises(clisc.UserError, match=line):
        call(tmp_path)


def test_a_folder_with_several_scans_is_refused(phantom, tmp_path):
    scan = next(phantom.glob("images/*/*.nii.gz"))
    for name in ("a", "b"):
        (tmp_path / f"{name}.nii.gz").symlink_to(scan)
    with pytest.raises(clisc.UserError, match="found 2 scans; expected one"):
        clisc.segment(tmp_path)
