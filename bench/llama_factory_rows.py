"""Rows of an imported configuration, token by token beside those of LLaMA-Factory itself.

Ten configurations are imported; their rows are rendered, tokenized and masked here, and by the real
`llamafactory` in an environment of its own. Printed are the sequences with equal ids and equal
labels, and the first token that differs. What a template writes after an answer's last token (a
line break) is learnt there and not here; such positions are counted by themselves.

    python -m venv LF && LF/bin/pip install llamafactory
    python -m bench.llama_factory_rows --python LF/bin/python
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IGNORED = -100
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TOKENS = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
ALPACA = [
    {"instruction": "Give the code.", "input": "Fever", "output": "R50.9"},
    {"instruction": "Name a prime below 10.", "input": "", "output": "7, for one.\nAlso 5."},
    {"instruction": "病历编号？", "input": "A12", "output": "头痛三天。"},
]
TALKS = [
    {"conversations": [
        {"from": "human", "value": "Is 7 prime?"}, {"from": "gpt", "value": "Yes."},
        {"from": "human", "value": "And 8?"}, {"from": "gpt", "value": "No, it is 2 · 4."}]},
    {"conversations": [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "Hello!"}, {"from": "gpt", "value": "Hi."}]},
]  # fmt: skip
OPENAI = [
    {"turns": [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": "Bye."}]},
]  # fmt: skip
PAIRS = [
    {"instruction": "Give the code.", "input": "Fever", "chosen": "R50.9", "rejected": "R51"},
]
RENAMED = [{"q": "Give the code.", "x": "Fever", "a": "R50.9", "sys": "You code."}]
EARLIER = [{**ALPACA[0], "history": [["Hello!", "Hi."], ["And you?", "Fine."]]}]
INFO: dict[str, Any] = {
    "alpaca": {"file_name": "alpaca.json"},
    "talks": {"file_name": "talks.json", "formatting": "sharegpt"},
    "openai": {"file_name": "openai.json", "formatting": "sharegpt",
               "columns": {"messages": "turns"},
               "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user",
                        "assistant_tag": "assistant", "system_tag": "system"}},
    "pairs": {"file_name": "pairs.json", "ranking": True,
              "columns": {"prompt": "instruction", "query": "input", "chosen": "chosen",
                          "rejected": "rejected"}},
    "renamed": {"file_name": "renamed.json",
                "columns": {"prompt": "q", "query": "x", "response": "a", "system": "sys"}},
    "earlier": {"file_name": "earlier.json",
                "columns": {"prompt": "instruction", "query": "input", "response": "output",
                            "history": "history"}},
}  # fmt: skip
ROWS = {"alpaca": ALPACA, "talks": TALKS, "openai": OPENAI, "pairs": PAIRS, "renamed": RENAMED,
        "earlier": EARLIER}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "alpaca": {"dataset": "alpaca"},
    "alpaca, prompts learnt": {"dataset": "alpaca", "train_on_prompt": True},
    "columns of other names, a system": {"dataset": "renamed"},
    "earlier turns": {"dataset": "earlier"},
    "earlier turns, the last answer": {"dataset": "earlier", "mask_history": True},
    "ShareGPT": {"dataset": "talks"},
    "ShareGPT, the last answer": {"dataset": "talks", "mask_history": True},
    "OpenAI's turns": {"dataset": "openai"},
    "OpenAI's turns, all learnt": {"dataset": "openai", "train_on_prompt": True},
    "pairs": {"dataset": "pairs", "stage": "dpo"},
}


@dataclass(frozen=True)
class Sequence:
    """Token ids and labels of one sequence."""

    input_ids: list[int]
    labels: list[int]


@dataclass(frozen=True)
class Compared:
    """What a sequence is beside the other program's.

    Attributes:
        ids, labels: whether they are equal.
        behind: positions that are labelled there alone, right behind an answer that both learn.
        first: the first position that differs otherwise.
    """

    ids: bool
    labels: bool
    behind: int
    first: int | None


def compare(ours: Sequence, theirs: Sequence) -> Compared:
    """Position by position."""
    ids = ours.input_ids == theirs.input_ids
    behind, first = 0, None
    for at in range(max(len(ours.input_ids), len(theirs.input_ids))):
        pairs = [
            (one[at] if at < len(one) else None, other[at] if at < len(other) else None)
            for one, other in ((ours.input_ids, theirs.input_ids), (ours.labels, theirs.labels))
        ]
        if all(one == other for one, other in pairs):
            continue
        (one, other), (label, labelled) = pairs
        before = ours.labels[at - 1] if 0 < at <= len(ours.labels) else IGNORED
        if one == other and label == IGNORED and labelled == one and before != IGNORED:
            behind += 1
        elif first is None:
            first = at
    return Compared(ids, ours.labels == theirs.labels, behind, first)


def ours_of(config: dict[str, Any], folder: Path, checkpoint: Path) -> list[list[Sequence]]:
    """The sequences of each row, by the manifest that the configuration becomes."""
    from transformers import AutoTokenizer

    from adapterworks.builders.data.formats import to_rows
    from adapterworks.builders.data.render import encode_rows
    from adapterworks.builders.data.rows import Row
    from adapterworks.manifests.importing import PROGRAMS

    done = PROGRAMS["llama-factory"](config, folder, "own")
    assert not done.refused, done.refused
    data, train = done.manifest["data"], done.manifest["train"]
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    rows = to_rows(ROWS[config["dataset"]], data["format"], source="rows",
                   columns=data.get("columns"))  # fmt: skip
    length, loss_on = train["max_length"], train["loss_on"]
    found = []
    for row in rows:
        alone = [Row((*row.context, *answer)) for answer in row.answers] if row.others else [row]
        loss = "last" if row.others else loss_on
        encoded = encode_rows(tokenizer, alone, length, loss)
        found.append([Sequence(list(e.input_ids), list(e.labels)) for e in encoded])
    return found


def make_checkpoint(folder: Path) -> Path:
    """A byte-level tokenizer with ChatML's control tokens and template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in control])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **TOKENS)
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return folder


def main() -> int:
    """Print the table; 1 if a sequence differs in more than what stands behind answers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True, type=Path, help="of LLaMA-Factory's environment")
    arguments = parser.parse_args()
    asked = [str(arguments.python), "-c", "import llamafactory; print(llamafactory.__file__)"]
    if subprocess.run(asked, capture_output=True).returncode:
        sys.stderr.write(f"llamafactory is not installed in `{arguments.python}`:\n{__doc__}\n")
        return 2
    reader = Path(__file__).with_name("llama_factory_reader.py")
    worst = 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        checkpoint = make_checkpoint(folder / "checkpoint")
        (folder / "data").mkdir()
        (folder / "data" / "dataset_info.json").write_text(json.dumps(INFO))
        configs = {
            name: {"model_name_or_path": str(checkpoint), "template": "chatml",
                   "output_dir": "saves", "cutoff_len": 512, **keys}
            for name, keys in CASES.items()
        }  # fmt: skip
        lines = [
            json.dumps({"config": config, "folder": str(folder / "data"),
                        "checkpoint": str(checkpoint), "tokens": TOKENS,
                        "rows": ROWS[config["dataset"]]})
            for config in configs.values()
        ]  # fmt: skip
        done = subprocess.run(
            [str(arguments.python), str(reader)],
            input="\n".join(lines), stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        for (name, config), answer in zip(configs.items(), done.stdout.splitlines(), strict=True):
            worst |= _print(name, ours_of(config, folder, checkpoint), json.loads(answer)["rows"])
    return worst


def _print(name: str, ours: list[list[Sequence]], theirs: list[list[dict[str, Any]]]) -> int:
    compared = [
        compare(mine, Sequence(**other))
        for row, others in zip(ours, theirs, strict=True)
        if others
        for mine, other in zip(row, others, strict=True)
    ]
    count = len(compared)
    ids, labels = sum(c.ids for c in compared), sum(c.labels for c in compared)
    behind = sum(c.behind for c in compared)
    firsts = [c.first for c in compared if c.first is not None]
    dropped = sum(not others for others in theirs)
    said = f"first difference at token {firsts[0]}" if firsts else "nothing else differs"
    sys.stdout.write(f"{name:<34} ids {ids}/{count}  labels {labels}/{count}  "
                     f"behind answers {behind}  dropped there {dropped}  {said}\n")  # fmt: skip
    return int(bool(firsts))


if __name__ == "__main__":
    sys.exit(main())
