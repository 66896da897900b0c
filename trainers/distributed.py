"""Who works on a round: this process alone, or the ranks of a distributed training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import distributed as dist


@dataclass(frozen=True)
class ProcessGroup:
    """Rank of this process and number of processes; all of them call every method together."""

    rank: int = 0
    size: int = 1

    @classmethod
    def of_this_process(cls) -> ProcessGroup:
        """The distributed training's ranks, where there is one."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    def share(self, cases: list[str]) -> list[str]:
        """Cases that fall to this process."""
        return cases[self.rank :: self.size]

    def wait(self) -> None:
        """Wait until all have come here."""
        if self.size > 1:
            dist.barrier()

    def gathered(self, own: dict[str, Any]) -> dict[str, Any]:
        """Entries of all processes, in the order of their keys, the same everywhere."""
        parts = [own]
        if self.size > 1:
            parts = [{} for _ in range(self.size)]
            dist.all_gather_object(parts, own)
        together = {key: value for part in parts for key, value in part.items()}
        return dict(sorted(together.items()))

    def from_first(self, value: Any) -> Any:
        """What the first process has, everywhere."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]
