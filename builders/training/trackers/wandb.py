"""Weights & Biases: needs an account, or `WANDB_MODE=offline`.

A run with names of its own sends numbers only: W&B's client would tell the host's name, the
program, its folder and repository, what is installed, what it prints and how busy the machine is.
What is left are the versions of Python and of the client.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapterworks.builders.training.trackers.tracker import Label, kept_id, of_accelerate

# Until W&B has taken what is left of a run that has ended.
_FINISH_S = 120.0


class Run:
    """A run in a project of its own."""

    def __init__(self, label: Label, folder: Path) -> None:
        import wandb

        id_ = kept_id(folder, "wandb", lambda: secrets.token_hex(8))
        self._run: Any = wandb.init(
            project=label.project,
            name=label.run,
            entity=label.entity,
            tags=label.tags,
            id=id_,
            resume="allow",
            dir=folder,
            settings=wandb.Settings(
                console="off",
                disable_code=True,
                disable_git=True,
                disable_job_creation=True,
                finish_timeout=_FINISH_S,
                host="-",
                program="-",
                quiet=True,
                save_code=False,
                x_disable_machine_info=True,
                x_disable_meta=True,
                x_disable_stats=True,
                x_save_requirements=False,
            ),
        )

    def log(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Take the numbers of a step."""
        self._run.log(dict(values), step=step)

    def finish(self) -> None:
        """The training has ended."""
        self._run.finish()


TRACKER = of_accelerate(
    "wandb",
    "Weights & Biases: needs an account, or `WANDB_MODE=offline`",
    Run,
    entities=True,
)
