"""Find the SAM that drew a dataset's labels, of which dataset.json has no more than name and hash.

Folders of one machine mean nothing on another, so that `dataset.json` has none. On the machine that
made the dataset, `run.json` of the raw dataset knows where the file lies.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from clisc_nnunet.digest import file_sha256
from clisc_nnunet.errors import UserError
from clisc_nnunet.file_names import without_folder
from clisc_nnunet.models.locate import find_entry, like_and_path
from clisc_nnunet.models.registry import BUNDLED_NAME


def find_sam(noted: Mapping[str, Any], folders: Iterable[Path], option: str) -> str:
    """What `load_sam` takes for the SAM that drew the labels.

    Parameters
    ----------
    noted : mapping
        `name` and `sha256` of that SAM, as `dataset.json` has them.
    folders : iterable of Path
        `clisc` folders of raw datasets whose `run.json` may know the file; they need not be there.
    option : str
        How a user names a SAM, for the error: what comes before the file.

    Raises
    ------
    UserError
        If it is a file, and there is none of this name and hash.
    """
    name, digest = str(noted.get("name") or BUNDLED_NAME), noted.get("sha256")
    if name == BUNDLED_NAME or find_entry(name, "sam") is not None:
        return name
    others = []
    # The last one: a file of this name in the working directory.
    for candidate in dict.fromkeys((*map(_recorded, folders), name)):
        # Taken for the same entry, and of the same file name, which may tell an entry as well.
        if without_folder(candidate) != without_folder(name):
            continue
        path = like_and_path(candidate, "sam")[1]
        if not path.is_file():
            continue
        # Who wrote no hash into dataset.json has named the file himself.
        if digest is None or file_sha256(path) == digest:
            return candidate
        others.append(str(path))
    entry = like_and_path(name, "sam")[0]
    raise UserError(
        f"dataset.json: clisc: sam: {without_folder(name)}",
        f"another file under this name ({', '.join(others)})" if others else "no such file",
        "the SAM that drew the labels" + (f", sha256 {str(digest)[:12]}..." if digest else ""),
        f"say where it lies: {option}{entry.name + '=' if entry else ''}FILE",
    )


def _recorded(folder: Path) -> str:
    """The SAM of a run of the converter, with the folder it lay in; empty if that is not known."""
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return str(record["models"]["sam"]["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
