"""Samples of an engine that the build holds beside the training (`building/sampling.py`).

This step's adapter goes there as files under their digest, never merged; token ids come back.

Invariant: what a step sampled is kept until a checkpoint has the step, so a training that was
killed learns from the same answers, whatever an engine would say the second time. An answer that
the engine broke off is none: the training ends instead.
"""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from adapterworks.builders.training.failure import error_from_json
from adapterworks.builders.training.samplers import Sample
from adapterworks.manifests.digests import digest_file, digest_json
from adapterworks.manifests.errors import Unavailable


class EngineSampler:
    """Samples by asking.

    Args:
        address: of the build's socket.
        save: writes the adapter as it is now into a folder.
        folder: of this training's own: the adapters, and what is kept.
        ends: ids that end an answer.
    """

    def __init__(
        self, address: str, save: Callable[[Path], None], folder: Path, ends: Sequence[int]
    ) -> None:
        self.address, self.save, self.folder, self.ends = address, save, folder, [*ends]
        self.told: dict[str, float] = {}
        self._loaded: dict[str, float] = {}  # by an evaluation, before the step that is told of it

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        count: int,
        most: int,
        seeds: Sequence[int] | None,
    ) -> list[list[Sample]]:
        adapter, digest = self._adapter()
        question = {
            "prompts": [[*prompt] for prompt in prompts],
            "count": count,
            "most": most,
            "seeds": None if seeds is None else [*seeds],
            "stop": self.ends,
            "digest": digest,
        }
        kept = self.folder / f"{digest_json(question)[7:39]}.json"
        if kept.exists():
            answer = json.loads(kept.read_text(encoding="utf-8"))
        else:
            answer = self._ask({**question, "adapter": str(adapter)})
            if seeds is not None:
                temporary = kept.with_suffix(".tmp")
                temporary.write_text(json.dumps(answer), encoding="utf-8")
                temporary.replace(kept)
        told = {name: float(value) for name, value in answer["told"].items()}
        self.told, self._loaded = (told, told) if seeds is None else (self._loaded | told, {})
        return [[_sample(one) for one in group] for group in answer["groups"]]

    def durable(self) -> None:
        """The steps so far are in a checkpoint."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _adapter(self) -> tuple[Path, str]:
        """The adapter as it is now, in a folder of its digest's name."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.glob("adapter-*"):
            shutil.rmtree(old)
        staged = self.folder / "adapter-now"
        self.save(staged)
        files = sorted(path for path in staged.rglob("*") if path.is_file())
        digest = digest_json({path.name: digest_file(path) for path in files})
        return staged.rename(self.folder / f"adapter-{digest[7:39]}"), digest

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """One line there and one back.

        Raises:
            AdapterworksError: as the engine says; `Unavailable` where the build is gone.
        """
        try:
            with socket.socket(socket.AF_UNIX) as channel:
                channel.connect(self.address)
                with channel.makefile("rwb") as file:
                    file.write(json.dumps(question).encode() + b"\n")
                    file.flush()
                    line = file.readline()
        except OSError as error:
            raise Unavailable(f"the engine that samples cannot be reached: {error}") from error
        if not line.endswith(b"\n"):
            raise Unavailable("the engine that samples ended in the middle of an answer")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise error_from_json(answer)
        return answer


def _sample(given: dict[str, Any]) -> Sample:
    return Sample(tuple(given["ids"]), torch.tensor(given["logprobs"]), bool(given["finished"]))
