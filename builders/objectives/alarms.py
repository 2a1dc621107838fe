"""Alarms of a training on sampled answers: signs that a reward is exploited, not earned.

Answers that grow and grow, a policy that has one answer left, and one that is far from where it
began are seen in every step's numbers long before an evaluation is. An alarm rings when a number is
outside its range for so many steps in a row, and again only after it has been inside.

Invariant: pure; what it remembers is JSON and part of a checkpoint, so a training that was killed
rings at the same steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from adapterworks.manifests.errors import Refused
from adapterworks.manifests.values import Frozen, PositiveFloat, PositiveInt

# Steps whose mean length is what lengths grow from. Shorter answers than _SHORT grow from _SHORT:
# from one token to a sentence is no growth to be alarmed by.
_FIRST = 5
_SHORT = 32.0
# The share of the best reward from which on a policy of one answer has learnt it, and not lost it.
_NEAR = 0.05


class AlarmTable(Frozen):
    """What stops a training on sampled answers that has gone wrong, and from when on (healthy
    ranges: Axolotl, docs/training_stability.qmd)."""

    action: Literal["stop", "warn", "off"] = "stop"
    """`stop` ends the build behind a checkpoint, so that it can go on; `warn` says it in log,
    report and card; `off` looks at nothing."""
    kl: PositiveFloat = 2.0
    """The most that the policy may have moved from its reference, in nats a token (0 to 0.5 is
    healthy)."""
    entropy: Annotated[float, Field(ge=0.0)] = 0.01
    """The least that sampled answers may be uncertain by, in nats a token (0.05 to 0.5 is usual);
    below it all answers are one. 0 asks for nothing. While the mean reward is within 5 % of the
    best it is no alarm: then it is known which answer is right. The best is the most that rewards
    can give, or, where that is not known (`python`, `multi`, `reward_release`), that was seen."""
    length_growth: Annotated[float, Field(gt=1.0)] = 3.0
    """How many times as long as in the first five steps answers may become; shorter ones than 32
    tokens count as 32."""
    patience: PositiveInt = 5
    """How many steps in a row a number has to be outside its range."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One that rings.

    Attributes:
        name: the key of the range.
        step: at which it rang, from 1.
        value: of the number at that step.
        limit: of its range.
        message: in words.
    """

    name: str
    step: int
    value: float
    limit: float
    message: str


@dataclass
class Watch:
    """What one training's alarms remember.

    Attributes:
        lengths: the mean length of each of the first steps, in tokens.
        outside: for how many steps in a row each number has been outside its range.
        rung: every alarm that has rung.
        ringing: the ranges whose alarm has rung since their number was inside.
        best: the highest mean reward of a step so far.
    """

    lengths: list[float] = field(default_factory=list)
    outside: dict[str, int] = field(default_factory=dict)
    rung: list[dict[str, Any]] = field(default_factory=list)
    ringing: list[str] = field(default_factory=list)
    best: float | None = None

    def look(
        self,
        table: AlarmTable,
        step: int,
        told: Mapping[str, float],
        highest: float | None = None,
    ) -> list[Alarm]:
        """Take in one step's numbers; returns what rings at it, nothing where alarms are off.

        Args:
            step: from 1.
            told: the step's metrics; a number that it does not tell is neither in nor outside.
            highest: the most that an answer can be worth; None where nobody knows.
        """
        if (reward := told.get("reward")) is not None:
            self.best = reward if self.best is None else max(self.best, reward)
        found = []
        for name, value, limit, outside, message in self._judged(table, told, highest):
            count = self.outside.get(name, 0) + 1 if outside else 0
            self.outside[name] = count
            if not outside and name in self.ringing:
                self.ringing.remove(name)
            # At least: it may have been more patient before it was resumed.
            if count >= table.patience and name not in self.ringing and table.action != "off":
                self.ringing.append(name)
                found.append(Alarm(name, step, value, limit, message))
        return found

    def keep(self, alarm: Alarm, action: str) -> dict[str, Any]:
        """Remember one that rang, and what was done; as it is told."""
        said = {
            "name": alarm.name,
            "step": alarm.step,
            "value": round(alarm.value, 5),
            "limit": alarm.limit,
            "action": action,
            "message": alarm.message,
        }
        self.rung.append(said)
        return said

    def forgive(self, name: str) -> None:
        """Of a training that is stopped: if it goes on as it was, the alarm rings again at once."""
        self.ringing.remove(name)

    def _learnt(self, reward: float | None, highest: float | None) -> bool:
        """Whether a mean reward is as good as the best that is known."""
        best = self.best if highest is None else highest
        return reward is not None and best is not None and reward >= best - _NEAR * abs(best)

    def _judged(
        self, table: AlarmTable, told: Mapping[str, float], highest: float | None
    ) -> Iterator[tuple[str, float, float, bool, str]]:
        """Each range that can be judged: name, value, limit, whether it is outside, in words."""
        if (kl := told.get("kl")) is not None:
            words = f"the policy is {kl:.3g} nats a token from its reference"
            yield "kl", kl, table.kl, not kl <= table.kl, f"{words} (more than {table.kl:g})"
        if (entropy := told.get("entropy")) is not None:
            words = f"sampled answers have {entropy:.3g} nats a token, they are nearly one"
            learnt = self._learnt(told.get("reward"), highest)
            low = not entropy >= table.entropy and not (entropy >= 0 and learnt)
            yield "entropy", entropy, table.entropy, low, f"{words} (less than {table.entropy:g})"
        if (length := told.get("length")) is None:
            return
        if len(self.lengths) < _FIRST:
            self.lengths.append(length)
            return
        began = sum(self.lengths) / len(self.lengths)
        times, limit = length / max(began, _SHORT), table.length_growth
        of = f"{began:.0f} of the first steps" if began > _SHORT else f"{_SHORT:.0f} of short ones"
        words = f"answers have {length:.0f} tokens, {times:.1f} × the {of}"
        yield "length_growth", times, limit, times > limit, f"{words} (more than {limit:g} ×)"


def stopped_by(alarm: Alarm, name: str, wrong: str, changed: str) -> Refused:
    """Why a training is stopped, and how it goes on.

    Args:
        name: of what is built.
        wrong: what such a policy does, as the message goes on.
        changed: which keys are another training, as the hint ends.
    """
    return Refused(
        f"training stopped at step {alarm.step}: {alarm.message}, {wrong}",
        hint=f"`adapters samples {name}` shows the answers; if they are as they should be, set "
        f'`objective.alarms.{alarm.name}` or `objective.alarms.action = "warn"` and build again: '
        f"it goes on from this step. {changed}",
    )
