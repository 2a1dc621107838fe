"""The gates of a manifest run on its rows, and what is done about what they find.

Every gate sees the rows as they came, so its report does not depend on other gates. Then: a row
that a `drop` gate names is left out; if a `fail` gate names a row, the build is refused, with the
rows listed; a `warn` gate only reports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from adapterworks.builders.data.gates.as_of import NOW, AsOf
from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import SPLITS, Context, GateReport
from adapterworks.builders.data.load import Splits
from adapterworks.builders.data.many import at
from adapterworks.builders.data.render import encode_rows
from adapterworks.builders.data.rows import Row
from adapterworks.manifests.errors import InvalidInput, Refused
from adapterworks.manifests.extensions import Table
from adapterworks.manifests.models import DataGates, Manifest
from adapterworks.registry.bases.ends import special_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from adapterworks.registry.registry import Registry

GATES: Table[Gate] = Table("data_gates", Gate)
Progress = Callable[[str, int, int], None]
_LISTED = 5  # rows in a refusal
_KEPT = 100  # row numbers in a release
_AT_ONCE = 4096  # rows whose tokens are in memory
_OVERFLOW = ("truncated_supervision", "truncated_prompts")


@dataclass(frozen=True)
class GateResults:
    """All reports, and the splits without the dropped rows."""

    reports: tuple[GateReport, ...]
    splits: Splits
    dropped: int

    @property
    def failed(self) -> tuple[GateReport, ...]:
        """Reports that refuse the build."""
        return tuple(r for r in self.reports if r.action == "fail" and not r.passed)

    def to_json(self) -> dict[str, Any]:
        """The reports as JSON values."""
        return {
            "passed": not self.failed,
            "dropped": self.dropped,
            "gates": [report.to_json() for report in self.reports],
        }

    def summary(self) -> list[dict[str, Any]]:
        """What a release keeps: measures and row numbers, none of the rows' text."""
        return [
            {
                "name": report.name,
                "measured": report.measured,
                "threshold": report.threshold,
                "action": report.action,
                "rows": len(report.rows),
                "first": [[found.split, found.row] for found in report.rows[:_KEPT]],
            }
            for report in self.reports
        ]

    def require(self) -> GateResults:
        """These results, if no `fail` gate found a row.

        Raises:
            Refused: one did; the message lists its first rows.
        """
        if not self.failed:
            return self
        lines = []
        for report in self.failed:
            lines.append(f"data gate `{report.name}` refuses {report.count}")
            for found in report.rows[:_LISTED]:
                lines.append(f"  {found.split} row {found.row}: {found.reason}: {found.excerpt}")
            if len(report.rows) > _LISTED:
                lines.append(f"  and {len(report.rows) - _LISTED} more")
        names = " or ".join(f'`data.gates.{r.name}.action = "drop"`' for r in self.failed)
        raise Refused(
            "\n".join(lines),
            hint=f"mend the rows (all of them: `adapters data gates`), or set {names}",
        )


def check_rows(
    splits: Splits, gates: DataGates, context: Context, progress: Progress | None = None
) -> GateResults:
    """Run the gates that are on; drop what is to be dropped. Deterministic.

    Args:
        progress: called with a gate's name, how many are done, and of how many, before each.
    """
    rows = {split: getattr(splits, split) for split in SPLITS}
    reports: list[GateReport] = []
    for name, setting in gates.items():
        if setting.on:
            if progress is not None:
                progress(name, len(reports), _on(gates))
            gate = GATES.named(name)
            threshold = gate.threshold if setting.threshold is None else setting.threshold
            finding = gate.check(rows, threshold or 0.0, context)
            reports.append(
                GateReport(name, finding.offences, finding.measured, threshold, setting.action)
            )
    dropped = {
        (found.split, found.index)
        for report in reports
        if report.action == "drop"
        for found in report.rows
    }
    train, validation, test = (
        at(rows[split], (i for i in range(len(rows[split])) if (split, i) not in dropped))
        if any(of == split for of, _ in dropped)
        else rows[split]
        for split in SPLITS
    )
    left = replace(splits, train=train, validation=validation, test=test)
    return GateResults(tuple(reports), left, len(dropped))


def run_gates(
    splits: Splits,
    manifest: Manifest,
    tokenizer: PreTrainedTokenizerBase | None = None,
    progress: Progress | None = None,
    registry: Registry | None = None,
    as_of: AsOf = NOW,
    earlier: Sequence[Row] = (),
) -> GateResults:
    """What `judge` finds, if it refuses nothing.

    Raises:
        Refused: a gate whose action is `fail` found rows.
    """
    return judge(splits, manifest, tokenizer, progress, registry, as_of, earlier).require()


def judge(
    splits: Splits,
    manifest: Manifest,
    tokenizer: PreTrainedTokenizerBase | None = None,
    progress: Progress | None = None,
    registry: Registry | None = None,
    as_of: AsOf = NOW,
    earlier: Sequence[Row] = (),
) -> GateResults:
    """Run a manifest's gates on its rows.

    Args:
        splits: the rows as they were read.
        manifest: whose `data.gates`, `adapter.language` and `train` are used.
        tokenizer: the base's; without it, truncation is not measured.
        progress: told which gate looks at the rows.
        registry: whose sealed test sets and erased rows are kept out; without one, they are not
            looked for.
        as_of: the seals and erasures of another time.
        earlier: what the releases learnt that the training goes on from.
    """
    gates = gates_of(manifest)
    context = Context(manifest.adapter.language, earlier=earlier)
    if registry is not None and gates["sealed"].on:
        from adapterworks.builders.data.gates.erased import erased_here
        from adapterworks.builders.data.gates.seals import sealed_here

        seals = sealed_here(registry, beside=splits.test, as_of=as_of)
        context = replace(context, seals=seals, erased=erased_here(registry, as_of=as_of))
    reads_tokens = any(GATES.named(name).reads_tokens for name, gate in gates.items() if gate.on)
    if tokenizer is not None and reads_tokens:
        if progress is not None:
            progress("tokens", 0, _on(gates))
        longest, asked = manifest.train.max_length, not manifest.objective.learns_answers
        losses = {
            split: losses_of(tokenizer, getattr(splits, split), longest, asked=asked)
            for split in ("train", "validation")
        }
        answers, prompts, turns = (
            {split: [loss[part] for loss in found] for split, found in losses.items()}
            for part in range(3)
        )
        context = replace(
            context, lost=answers, lost_prompts=prompts, unlearnt=turns, special=specials(tokenizer)
        )
    return check_rows(splits, gates, context, progress)


def _on(gates: DataGates) -> int:
    return sum(setting.on for _, setting in gates.items())


def gates_of(manifest: Manifest) -> DataGates:
    """`data.gates`, those that find rows which do not fit doing as `train.on_overflow` says."""
    action = manifest.train.on_overflow
    gates = manifest.data.gates
    return gates if action == "cut" else gates.acting(action, _OVERFLOW)


def specials(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """The texts that the tokenizer takes for control tokens wherever they stand."""
    marked = (str(tokenizer.convert_ids_to_tokens(one)) for one in sorted(special_ids(tokenizer)))
    return tuple(dict.fromkeys((*tokenizer.all_special_tokens, *marked)))


def losses_of(
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    max_length: int,
    *,
    asked: bool = False,
) -> list[tuple[int, int, int]]:
    """Per row, what is not learnt of it; nought for an empty answer, which is another gate's.

    Args:
        asked: only what is asked is read; its own answer is not learnt.

    Returns:
        Supervised tokens and tokens of the prompt that do not fit into `max_length`, and answers
        that the template writes differently later; of a row with several answers, of all of them.
    """
    if len(rows) > _AT_ONCE:
        parts = (rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE))
        return [
            loss for part in parts for loss in losses_of(tokenizer, part, max_length, asked=asked)
        ]
    rows = tuple(row.answered(0) for row in rows) if asked else tuple(rows)
    if any(row.others for row in rows):
        each = [[row.answered(number) for number in range(len(row.answers))] for row in rows]
        losses = [losses_of(tokenizer, answers, max_length) for answers in each]
        return [
            (sum(x[0] for x in found), sum(x[1] for x in found), sum(x[2] for x in found))
            for found in losses
        ]
    try:
        encoded = encode_rows(tokenizer, rows, max_length, asked=asked)
    except InvalidInput:
        if len(rows) == 1:
            return [(0, 0, 0)]
        middle = len(rows) // 2
        return [
            *losses_of(tokenizer, rows[:middle], max_length, asked=asked),
            *losses_of(tokenizer, rows[middle:], max_length, asked=asked),
        ]
    lost = [(0, 0, 0)] * len(rows)
    for sequence in encoded:
        answer, prompt, turns = lost[sequence.row]
        lost[sequence.row] = (
            answer + sequence.cut,
            prompt + sequence.cut_prompt,
            turns + sequence.unlearnt,
        )
    return lost
