"""What the objectives that learn from sampled answers share: rows, lengths, who samples, alarms.

Invariant: nothing here samples: `builders/training/` does, and gives each supervised token its
log-probability at that time (`old`) and what the sampler said of it (`drawn`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from adapterworks.builders.data.render import LossOn
from adapterworks.builders.data.rows import Row
from adapterworks.builders.objectives.alarms import AlarmTable
from adapterworks.builders.objectives.examples import Example, encode_answers
from adapterworks.builders.objectives.objective import Objective
from adapterworks.manifests.checking import Check, Problem, check
from adapterworks.manifests.extensions import load
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.objective import ObjectiveTable
from adapterworks.manifests.values import PositiveFloat, PositiveInt
from adapterworks.registry.releases.forms import LORA

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OLD, DRAWN = "old", "drawn"


class SampleTable(ObjectiveTable):
    """What every objective that samples can be told."""

    max_completion: PositiveInt = 256
    """Longest sampled answer in tokens."""
    engine: Literal["huggingface", "vllm"] = "huggingface"
    """Who samples: the model that is trained, in Hugging Face's `generate`, or a vLLM that is
    started for the training and loads each step's adapter under its digest."""
    generation_batch_size: PositiveInt | None = None
    """Answers that the model that is trained generates together; as many as fit if not given."""
    max_mismatch: PositiveFloat | None = None
    """The most that the log-probabilities of sampler and trainer may differ by, in nats a token, at
    the 99th percentile of a batch; more stops the build. If not given, 1e-3, and 0.5 where one of
    the two computes in half precision."""
    alarms: AlarmTable = AlarmTable()
    """When a training that goes wrong is stopped."""


@check("objective")
def _engine(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """An engine of its own samples with adapters that it loads exactly."""
    table = manifest.objective
    assert isinstance(table, SampleTable)
    technique = load("methods", manifest.method.kind)
    if table.engine != "huggingface" and (technique.form != LORA or technique.cut):
        yield Problem(
            ("objective", "engine"),
            f"`{table.engine}` samples with adapters that it loads exactly as LoRA, and "
            f"`{manifest.method.kind}` trains none",
            "remove it, or set `method.kind` to `lora`, `qlora` or `adalora`",
        )


class Sampled(Objective):
    """What learns from answers that the policy gives while it is trained.

    Attributes:
        wrong: what a policy does whose training is stopped by an alarm, as a message goes on.
        changed: keys that would have been another training, as a hint names them.
    """

    takes = frozenset({"conversation"})
    rollouts = True
    checks: tuple[Check, ...] = (_engine,)
    wrong: str
    changed: str = "A lower `train.learning_rate` is another training"

    def encode(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rows: Sequence[Row],
        max_length: int,
        loss_on: LossOn,
    ) -> list[Example]:
        """A row's prompt with its own answer."""
        return [Example(one, 1.0) for one in encode_answers(tokenizer, rows, max_length, 1)]

    def planned_tokens(self, example: Example) -> int:
        """The prompt and the longest answer that may be sampled to it."""
        own = Example(example.sequences[:1], example.count)
        return own.tokens - own.supervised + self.planned_supervised(example)

    def planned_supervised(self, example: Example) -> int:
        """All of the longest answer: the row's own is never learnt."""
        return int(self.settings.max_completion)

    @abstractmethod
    def count(self, tokens: int) -> float:
        """What an answer of so many tokens adds to what a step's loss is divided by."""
