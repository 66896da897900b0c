"""Any folder of any files gives cases and ignored files, or a one-line error; nothing is changed.

Trees of all layouts are mixed with odd names, duplicates, stray files, and files that are empty,
truncated or of another format than their ending.
"""

import contextlib
import io
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from helpers.dicom_files import write_series
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clisc_nnunet.dataset_conversion.make_pseudo_dataset import main
from clisc_nnunet.errors import ScanError, UserError
from clisc_nnunet.inputs.case_filter import chosen_input
from clisc_nnunet.inputs.channels import parse_channels
from clisc_nnunet.inputs.find_cases import describe, scan_ending
from clisc_nnunet.io.dicom_series import Series
from clisc_nnunet.io.volume import Geometry, read_volume, scan_digest, write_volume

pytestmark = pytest.mark.slow

GRID = Geometry((6, 5, 4), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
NAMES = [
    "a", "b", "a b", "A", "ä", "脑", "x.y", "case_0000", "case_0001", "a_seg", "sub-01", "01", "-",
    "_", "flair", "%s {0}", "a\nb", "\udcff", "n" * 120, "imagesTr", "labelsTr", "anat", "ses-1",
    "derivatives", ".hidden", "anna_study1",
]  # fmt: skip
MODALITIES = ["_flair", "_FLAIR", "-t2f", "_t1", "_T1w", "_seg", "-mask", "_0000", "_0001", ""]
ENDINGS = [".nii.gz", ".nii", ".mha", ".NII.GZ", ".nrrd", ".dcm", "", ".txt", ".gz", ".json"]
CONTENTS = [
    "scan.nii.gz", "scan.nii", "scan.mha", "cut", "empty", "text", "json", "folder", "nowhere",
    "loop", *(f"{series}{plane}" for series in ("flair", "t1", "cut flair") for plane in range(3)),
]  # fmt: skip
name, modality, ending = (st.sampled_from(part) for part in (NAMES, MODALITIES, ENDINGS))
LAYOUTS = {
    "flat": st.builds("{}{}{}".format, name, modality, ending),
    "BraTS": st.builds("{0}/{0}{1}{2}".format, name, modality, ending),
    "another name": st.builds("{}/{}{}{}".format, name, name, modality, ending),
    "nnU-Net": st.builds("{}_{}.nii.gz".format, name, st.sampled_from(["0000", "0001", "0002"])),
    "BIDS": st.builds("sub-{0}/anat/sub-{0}{1}{2}".format, name, modality, ending),
    "sessions": st.builds("sub-{0}/ses-{1}/anat/x{2}{3}".format, name, name, modality, ending),
    "not anat": st.builds("sub-{}/{}/{}{}{}".format, name, name, name, modality, ending),
    "deep": st.builds("{}/{}/{}/{}{}".format, name, name, name, modality, ending),
    "DICOM": st.builds("{}/{}/{}.dcm".format, name, name, name),
}


class Contents(dict):
    """Contents of files by kind."""

    def __repr__(self):
        return "contents"


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    made = {"empty": b"", "text": b"not a scan", "json": b'{"channel_names": {"0": 1, "x": []}}'}
    for number, kind in enumerate(("scan.nii.gz", "scan.nii", "scan.mha")):
        array = np.random.default_rng(number).normal(size=GRID.shape).astype(np.float32)
        write_volume(folder / kind, array, GRID)
        made[kind] = (folder / kind).read_bytes()
    made["cut"] = made["scan.nii.gz"][:90]
    for uid, series in (("1.2.3", "flair"), ("1.2.4", "t1")):
        write_series(folder / series, uid, series, planes=range(3), study=f"{uid}.9")
        for plane, path in enumerate(sorted((folder / series).iterdir())):
            made[f"{series}{plane}"] = path.read_bytes()
    made |= {f"cut flair{n}": made[f"flair{n}"][:500] for n in range(3)}
    return Contents(made)


kinds = st.sampled_from(CONTENTS)
files = st.one_of(
    # Mostly of one layout, as real folders; sometimes mixed.
    st.sampled_from(sorted(LAYOUTS)).flatmap(
        lambda layout: st.lists(st.tuples(LAYOUTS[layout], kinds), max_size=10)
    ),
    st.lists(st.tuples(st.one_of(*LAYOUTS.values()), kinds), max_size=10),
)
asked = st.sampled_from(
    [("flair",), ("flair", "t1"), ("t1", "flair"), ("flair=0001",), ("flair=x", "t1=0000")]
)
any_folder = settings(
    max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None
)


def plant(root, wanted, contents):
    """Create the files whose names do not conflict with others."""
    for relative, kind in wanted:
        path = root / relative
        with contextlib.suppress(OSError):  # a file where a folder should be, or the reverse
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "folder":
                path.mkdir()
            elif kind == "nowhere":
                path.symlink_to(root / "nothing here")
            elif kind == "loop":
                path.symlink_to(root, target_is_directory=True)
            elif not path.is_symlink():
                path.write_bytes(contents[kind])


def snapshot(root):
    """Complete content of a folder; links are not followed."""
    found = {}
    for folder, folders, names in os.walk(root):
        for path in (Path(folder) / name for name in (*folders, *names)):
            plain = path.is_file() and not path.is_symlink()
            found[path] = path.lstat().st_mtime_ns, path.read_bytes() if plain else None
    return found


def is_a_line(error):
    assert all((error.where, error.found, error.expected, error.hint))
    assert "\n" not in str(error)
    str(error).encode("utf-8")


def look(root, words):
    """Input found by the command, or its error."""
    try:
        return chosen_input(root, parse_channels(words), "flair")
    except UserError as error:
        is_a_line(error)
        return str(error)


def reported_paths(found):
    """Paths that are reported, themselves or by a parent folder; and faulty cases."""
    sources = [source for source, _ in found.ignored]
    sources += [source for case in found.cases for source in case.channels]
    paths = set()
    for source in sources:
        paths |= set(source.files) if isinstance(source, Series) else {source}
    return paths, [case for case, _ in found.faults]


@any_folder
@given(wanted=files, words=asked)
def test_each_scan_is_found_or_reported(contents, wanted, words):
    with TemporaryDirectory() as folder:
        root = Path(folder)
        plant(root, wanted, contents)
        before = snapshot(root)
        found = look(root, words)
        assert snapshot(root) == before
        if isinstance(found, str):
            return
        describe(found).encode("utf-8")
        for _, fault in found.faults:
            is_a_line(fault)
        names = [case.name for case in found.cases]
        assert names == sorted(set(names)) and not set(names) & {c for c, _ in found.faults}
        paths, at_fault = reported_paths(found)
        slices = [contents[kind] for kind in contents if kind.startswith(("flair", "t1"))]
        for path in before:
            dicom = found.layout == "DICOM" and before[path][1] in slices
            if not path.is_file() or not (scan_ending(path) or dicom):
                continue
            parts = path.relative_to(root).parts
            hidden = any(part.startswith(".") for part in parts)
            by_case = any(set(re.split("_ses-|_study", case)) & _stems(parts) for case in at_fault)
            assert hidden or by_case or {path, *path.parents} & paths, path
        for case in found.cases:
            assert len(case.channels) == len(words)
            with contextlib.suppress(ScanError):
                scan_digest(case.image)
                read_volume(case.image)
        assert snapshot(root) == before


def _stems(parts):
    """Possible names of a case of this path, without suffixes such as `_ses-` or `_study`."""
    stem = parts[-1][: -len(scan_ending(Path(parts[-1])) or "") or None]
    cuts = {stem[:n] for n in range(len(stem) + 1)}
    return {*parts, *cuts, *(part.removeprefix("ses-") for part in parts)}


class Reversed:
    """Lists folders in reverse order."""

    def __init__(self, entries):
        self.entries = list(entries)[::-1]

    def __iter__(self):
        return iter(self.entries)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@any_folder
@given(wanted=files, words=asked)
def test_the_order_of_files_does_not_matter(contents, wanted, words):
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        root = Path(folder)
        plant(root, wanted, contents)
        forwards = look(root, words)
        scandir, listdir = os.scandir, os.listdir
        patch.setattr(os, "scandir", lambda *path: Reversed(scandir(*path)))
        patch.setattr(os, "listdir", lambda *path: listdir(*path)[::-1])
        assert report(look(root, words)) == report(forwards)
        patch.undo()


def report(found):
    """Everything reported about an input folder, in comparable form."""
    return found if isinstance(found, str) else (describe(found), found.cases, found.ignored)


@settings(any_folder, max_examples=60)
@given(wanted=files, words=asked)
def test_the_command_ends_with_a_status_and_no_traceback(contents, wanted, words):
    with TemporaryDirectory() as folder:
        scans, root = Path(folder) / "scans", Path(folder) / "raw"
        scans.mkdir()
        plant(scans, wanted, contents)
        # Terminals accept valid text only.
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            call = ["-i", str(scans), "-d", "501", "-o", str(root), "--channels", *words]
            status = main([*call, "--dry-run"])
        err.seek(0)
        lines = err.read().splitlines()
        assert (status, len(lines)) in ((0, 0), (2, 1)), lines
        assert not root.exists()
