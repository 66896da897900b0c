"""A finished conversion of three phantoms, for tests of how it continues."""

import shutil

import pytest
from helpers.quick import convert, labels

from clisc_nnunet.cli.make_phantoms import main as make_phantoms


@pytest.fixture(scope="session")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms")
    assert make_phantoms(["-o", str(folder), "-n", "3", "--spacing", "3", "--seed", "5"]) == 0
    return folder / "images"


@pytest.fixture(scope="session")
def unbroken(scans, tmp_path_factory):
    """Root of a dataset made by an uninterrupted run; read-only."""
    root = tmp_path_factory.mktemp("unbroken")
    assert convert(scans, root) == 0
    assert len(labels(root)) >= 2
    return root


@pytest.fixture
def copy(unbroken, tmp_path):
    """Root of a copy of that dataset."""
    shutil.copytree(unbroken, tmp_path / "raw", symlinks=True)
    return tmp_path / "raw"
