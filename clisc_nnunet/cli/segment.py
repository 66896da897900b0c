"""The command `clisc_segment`: masks of scans at once, without any training."""

from __future__ import annotations

from collections.abc import Sequence

EPILOG = """\
Without -m the bundled network is used, which was trained on phantoms alone. Written into OUT: a mask
CASE.nii.gz per scan on its own grid, volumes.csv, segmentations.png. Which masks to trust:
clisc_estimate_quality -i SCANS -p OUT.

exit status: 0 done; 2 bad input or call; 3 done, but some scans were skipped; 5 disk full or
not writable; 130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    raise NotImplementedError
