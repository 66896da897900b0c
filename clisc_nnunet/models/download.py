"""Download weights from their publishers into the weights folder and verify their hashes.

Plain URLs are downloaded by pooch, which restarts after a broken connection; repositories of the
Hugging Face hub by huggingface_hub, which resumes. Both respect the proxy settings of the
environment. A file gets its final name only after the hash was verified.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

from clisc_nnunet.errors import WeightsError
from clisc_nnunet.models.registry import Digest, Entry, Hub, Web, weights_folder

TRIES, PAUSE_S, TIMEOUT_S = 3, 2.0, 30.0
_CHUNK = 1 << 20
# First bytes of weight files: a zip archive, a pickle, the length of a safetensors header.
_BEGINNINGS = re.compile(rb"PK|\x80|.{7}\x00\{", re.DOTALL)


def offline() -> bool:
    """Whether downloads are disabled by CLISC_OFFLINE or HF_HUB_OFFLINE."""
    switches = (os.environ.get(name, "") for name in ("CLISC_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.lower() in ("1", "true", "yes", "on") for value in switches)


def weights_path(entry: Entry) -> Path:
    """Path of an entry's weights in the weights folder, whether they exist or not."""
    return weights_folder() / entry.file


def present(entry: Entry) -> Path | None:
    """File of an entry in the weights folder, or None."""
    path = weights_path(entry)
    return path if path.is_file() else None


def checked(entry: Entry, path: Path) -> Path:
    """The path of an entry's file after its hash was verified, if one is stated.

    Raises
    ------
    WeightsError
        If the hash differs.
    """
    if entry.digest is not None:
        fits, found = entry.digest.fits(path)
        if not fits:
            raise WeightsError(
                path,
                found,
                f"{entry.digest} (stated by {entry.digest.stated})",
                "remove the file to download it again, or give its path to use it as it is",
            )
    return path


def fetch(entry: Entry) -> Path:
    """Path of an entry's weights, downloaded into the weights folder if necessary.

    Raises
    ------
    WeightsError
        If the hash differs from the published one, or the file is missing and cannot be
        downloaded; the message says which file to put where.
    """
    from filelock import FileLock

    target = weights_path(entry)
    if _complete(entry):
        return checked(entry, target)
    if offline():
        raise _absent(entry, "no such file, and downloads are disabled by offline mode")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Only one of several processes downloads the file.
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not _complete(entry):
                _download(entry, entry.source)
    except OSError as error:
        raise _absent(entry, f"a folder that is not writable ({error.strerror})") from None
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
    companions = entry.source.companions if isinstance(entry.source, Hub) else ()
    return target.is_file() and all((target.parent / name).is_file() for name in companions)


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
                # Retrying does not help.
                raise _absent(entry, f"no file at {source.url} ({_reason(error)})") from None
            except requests.RequestException as error:
                if attempt == TRIES:
                    raise _absent(
                        entry, f"an incomplete download from {source.url} ({_reason(error)})"
                    ) from None
                print(f"{_reason(error)}; retrying", flush=True)
                time.sleep(PAUSE_S)
            except OSError as error:
                raise _absent(entry, f"a file that is not writable ({error.strerror})") from None
        _accept(entry, partial, published=None)
    finally:
        partial.unlink(missing_ok=True)


def _from_hub(entry: Entry, source: Hub) -> None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    target = weights_path(entry)
    endpoint = os.environ.get("HF_ENDPOINT")
    # Partial downloads stay in this folder so that a later call can resume.
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
    except Exception as error:  # the client raises its own classes, those of httpx and OSError
        raise _absent(entry, f"a failed download from the hub ({_reason(error)})") from None
    # The hub states the sha256 of large files.
    published = stated if re.fullmatch("[0-9a-f]{64}", stated) else None
    try:
        _accept(entry, Path(path), published)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _accept(entry: Entry, fetched: Path, published: str | None) -> None:
    """Move a downloaded file to its final path if its content is valid.

    Parameters
    ----------
    entry : Entry
    fetched : Path
        The downloaded file.
    published : str or None
        sha256 stated by the server.

    Raises
    ------
    WeightsError
        If the hash differs, or the file is not a weight file.
    """
    with fetched.open("rb") as file:
        beginning = file.read(9)
    digest = entry.digest
    if digest is None and published is not None:
        digest = Digest("sha256", published, "the hub's answer")
    fits, found = (digest or Digest("sha256", "", "no one")).fits(fetched)
    if not fits or not _BEGINNINGS.match(beginning):
        if not _BEGINNINGS.match(beginning):
            found = f"no weight file (it starts with {beginning!r})"
        expected = f"{digest} (stated by {digest.stated})" if digest else "a weight file"
        raise WeightsError(
            entry.source.address, found, expected, f"download it manually to {weights_path(entry)}"
        )
    os.replace(fetched, weights_path(entry))
    status = "as published" if digest else "the publisher states no hash"
    print(f"{entry.name}: {found}, {status}", flush=True)


def _absent(entry: Entry, found: str) -> WeightsError:
    """Error that says which file to put where, with its URL and hash."""
    target, source = weights_path(entry), entry.source
    hashed = str(entry.digest) if entry.digest else "no hash is published"
    if isinstance(source, Hub) and source.companions:
        files = ", ".join(source.companions)
        hint = f"download {source.address} and the files {files} to this folder"
    else:
        hint = f"download {source.address} to this path"
    return WeightsError(target, found, f"the weights of {entry.name} ({hashed})", hint)


def _reason(error: BaseException) -> str:
    # The hub's client wraps the original error in several lines of advice.
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:160]}" if text else type(error).__name__
