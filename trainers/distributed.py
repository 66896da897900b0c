"""Communication between the processes of a distributed training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import distributed as dist


@dataclass(frozen=True)
class ProcessGroup:
    """Rank and number of processes; the methods are collective operations.

    Works without initialising torch.distributed if there is only one process.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def of_this_process(cls) -> ProcessGroup:
        """Ranks of the distributed training; rank 0 of 1 if there is none."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    def share(self, cases: list[str]) -> list[str]:
        """Cases to be processed by this process."""
        return cases[self.rank :: self.size]

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            dist.barrier()

    def gather(self, own: dict[str, Any]) -> dict[str, Any]:
        """Merge the dicts of all processes, sorted by key."""
        parts = [own]
        if self.size > 1:
            parts = [{} for _ in range(self.size)]
            dist.all_gather_object(parts, own)
        merged = {key: value for part in parts for key, value in part.items()}
        return dict(sorted(merged.items()))

    def broadcast(self, value: Any) -> Any:
        """Value of the first process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]
