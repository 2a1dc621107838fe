"""What was seen of a file of rows → the text of a manifest, with a reason beside every choice.

Invariant: the text is a valid manifest, alone and with `quick`; a number in it is derived from the
rows by the sum that its comment says.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from adapterworks.drafting.look import Look, objective_for
from adapterworks.manifests.texts import one_line

TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1
_BATCH = 8
# Steps of a whole and of a quick training. Chosen by the loss on held-out rows of one Chinese
# table (docs/log/demo-and-first-hour.md); another table may need more.
_STEPS, _QUICK_STEPS = 300, 120
_MOST_TEST = 500
_NEAREST = 'baseline = "nearest"              # compared with a search over the training rows'


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody chose.

    Attributes:
        name: the adapter's.
        base: as `base.model`, from the folder that the manifest will be in.
        quantization: how it is held.
        called: what commands call the manifest: a name or a path, as a shell takes it.
    """

    name: str
    base: str
    quantization: str
    called: str
    license: str = "other"


def manifest_text(seen: Look, draft: Draft, folder: Path, sources: dict[str, str]) -> str:
    """The manifest.

    Args:
        seen: what the file holds.
        draft: what somebody chose.
        folder: that the manifest will be in.
        sources: split → source as the manifest names it; `train` at least.
    """
    held = TEST_SHARE * ("test" not in sources) + VALIDATION_SHARE * ("validation" not in sources)
    train = max(1, round(seen.rows * (1 - held)))
    steps_per_epoch = ceil(train / _BATCH)
    epochs = min(10, max(1, round(_STEPS / steps_per_epoch)))
    quick = min(train, _QUICK_STEPS * _BATCH)
    return "\n".join(
        [
            *_head(seen, draft),
            *_data(seen, sources),
            *_train(seen, epochs),
            *_evaluate(seen),
            "# A first look: on two cores a few minutes. `adapters build "
            f"{one_line(draft.called)} --profile quick`",
            "[profiles.quick]",
            *([f"data.limit = {quick}"] if quick < train else []),
            f"data.limit_test = {min(200, _MOST_TEST)}",
            f"train.max_steps = {_QUICK_STEPS}",
            "",
        ]
    )


def relative(path: Path, folder: Path) -> str:
    """A file as a manifest in a folder names it."""
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def quoted(text: str) -> str:
    """A TOML string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'


def _head(seen: Look, draft: Draft) -> list[str]:
    if seen.task == "labels":
        what = f"one of {len(seen.labels)} answers to each question"
    elif seen.task == "answers":
        what = "an answer of its own to each question"
    elif seen.task == "judged":
        what = "an answer to each question, and whether it is a good one"
    elif seen.task == "comparison":
        what = "a better and a worse answer to each question"
    else:
        what = "plain text, learnt whole"
    return [
        f"# Written by `adapters init` from {one_line(seen.path.name)}: {seen.rows} rows, {what}.",
        f"# Check it with `adapters validate {one_line(draft.called)}`;",
        "# every key is in docs/reference/manifest.md.",
        "",
        "[adapter]",
        f"name = {quoted(draft.name)}",
        'description = ""                  # one line for people: what it is for',
        f"license = {quoted(draft.license)}",
        f"language = [{quoted(seen.language)}]                 # rows in another are reported",
        "",
        "[base]",
        f"model = {quoted(draft.base)}",
        f"quantization = {quoted(draft.quantization)}             "
        "# adapters of equal base and quantization share one engine",
        "",
        "[method]",
        'kind = "lora"                     # `adapters methods` lists the others',
        "rank = 16",
        "",
    ]


def _data(seen: Look, sources: dict[str, str]) -> list[str]:
    lines = ["[data]", f"train = {quoted(sources['train'])}"]
    for split, share, comment in (
        ("validation", VALIDATION_SHARE, "held out to watch the training"),
        ("test", TEST_SHARE, "held out to compare base and adapter; never trained on"),
    ):
        if split in sources:
            lines.append(f"{split} = {quoted(sources[split])}")
        else:
            lines.append(f"{split}_share = {share}          # {comment}")
    lines.append(f"format = {quoted(seen.format)}")
    if seen.columns:
        pairs = ", ".join(f"{name} = {quoted(column)}" for name, column in seen.columns.items())
        lines.append(f"columns = {{ {pairs} }}")
    if seen.task != "prose":
        lines.append(
            '# system = "…"                    # before every question; callers must send it too'
        )
    return [*lines, ""]


def _train(seen: Look, epochs: int) -> list[str]:
    # A token is a byte at its shortest; a template and an end of turn are below 64 tokens.
    longest = min(2048, 64 * ceil((seen.longest + 64) / 64))
    labels = seen.task == "labels"
    lines = []
    if seen.task in ("comparison", "judged"):
        kind = quoted(objective_for(seen.task) or "")
        lines += ["[objective]", f"kind = {kind}  # `adapters objectives` lists the others", ""]
    lines += [
        "[train]",
        f"epochs = {epochs}",
        f"batch_size = {_BATCH}",
        f"max_length = {longest}                  # tokens; the longest row: {seen.longest} bytes",
    ]
    if labels:
        lines.append(
            "learning_rate = 1e-3             # short answers: five times the method's own"
        )
    return [*lines, ""]


# task → metrics, of which the first is the gate's, and its least gain. Pairs are not learnt as
# words: training moves by how much the better answer is the likelier one.
_METRICS = {
    "prose": ("perplexity", "0.0"),
    "labels": ("exact_match macro_f1", "0.05"),
    "comparison": ("preference_margin preference_accuracy", "0.0"),
}
_OF_ANSWERS = ("chrf rouge_l", "0.0")


def _evaluate(seen: Look) -> list[str]:
    named, gain = _METRICS.get(seen.task, _OF_ANSWERS)
    metrics = named.split()
    answer = min(512, 8 * ceil((seen.longest_answer + 8) / 8))
    lines = ["[evaluate]", f"metrics = [{', '.join(quoted(metric) for metric in metrics)}]"]
    if seen.task not in ("prose", "comparison"):
        lines.append(f"max_new_tokens = {answer}")
    if seen.task == "labels":
        lines.append(_NEAREST)
    if seen.task == "judged":
        # Half of the references are bad answers: being like them is no gain.
        return [
            *lines,
            "",
            "# No gate: no metric tells from judged answers whether others are good.",
            "",
        ]
    return [
        *lines,
        "",
        "# The alias moves only if the adapter is better than its base beyond chance.",
        "[[evaluate.gates]]",
        f"metric = {quoted(metrics[0])}",
        f"min_gain = {gain}",
        "confidence = 0.95",
        "",
    ]
