"""Peak memory of this process, as reports tell it."""

from __future__ import annotations

import sys


def peak_memory_gb() -> float | None:
    """Most memory that this process and a child it waited for have held so far, in GB.

    None on Windows, which does not tell.
    """
    if sys.platform == "win32":
        return None
    import resource

    # Linux counts kilobytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return round(sum(resource.getrusage(w).ru_maxrss for w in who) * unit / 1e9, 2)
