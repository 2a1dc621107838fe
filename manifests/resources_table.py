"""`[resources]`: what a build needs of the machine that it is given to."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from adapterworks.manifests.values import Frozen, PositiveInt

_SIZE = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?) ?([kMGT]?)B")
_SCALE = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_TIME = re.compile(r"([0-9]{1,5}(?:\.[0-9]{1,3})?)([mhd])")
_SECONDS = {"m": 60, "h": 3600, "d": 86400}


class ResourcesTable(Frozen):
    """`[resources]`: what a build is given where it is sent to (`adapters build --on`).

    It changes nothing of what is trained. What is left out is filled by the plan, and what is said
    is checked against it.
    """

    gpus: Annotated[int, Field(ge=0, le=1024)] | None = None
    """GPUs of each node; none, if not given."""
    nodes: PositiveInt = 1
    """Machines. A build is trained on one, and more are refused."""
    processes: PositiveInt | None = None
    """Processes that train: as `train.processes`, which says how many there are."""
    memory: Annotated[str, Field(pattern=f"^{_SIZE.pattern}$")] | None = None
    """Memory of each node (`64GB`); the plan's prediction plus a reserve if not given."""
    time: Annotated[str, Field(pattern=f"^{_TIME.pattern}$")] | None = None
    """Time limit (`90m`, `8h`, `2d`); the place's own limit if not given."""

    @property
    def memory_bytes(self) -> int | None:
        """The memory in bytes."""
        if self.memory is None:
            return None
        found = _SIZE.fullmatch(self.memory)
        assert found is not None
        return round(float(found[1]) * _SCALE[found[2]])

    @property
    def seconds(self) -> int | None:
        """The time in seconds."""
        if self.time is None:
            return None
        found = _TIME.fullmatch(self.time)
        assert found is not None
        return round(float(found[1]) * _SECONDS[found[2]])
