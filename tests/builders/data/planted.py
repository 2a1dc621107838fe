"""A data set of good rows with ten faults planted at known line numbers, in English and Chinese."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Pair = tuple[str, str]  # question, answer

TOPICS = (
    "invoice",
    "refund",
    "password",
    "delivery",
    "warranty",
    "subscription",
    "router",
    "firmware",
    "battery",
    "display",
    "keyboard",
    "printer",
    "calendar",
    "backup",
    "license",
)
SENTENCES = (
    "The customer asks how to change the {0} after the last update of the {1}",
    "Yesterday the {0} stopped working while the {1} was still being installed",
    "Please explain where the {0} of an older {1} can be found in the portal",
    "Somebody reports that the {0} and the {1} were mixed up by the support team",
)
CHINESE_TOPICS = ("发票", "退款", "密码", "快递", "保修", "订阅", "路由器", "固件", "电池", "屏幕")
CHINESE_SENTENCES = (
    "客户想知道在更新{1}以后怎样修改自己的{0}",
    "昨天安装{1}的时候{0}突然不能使用了",
    "请说明在哪里可以找到旧{1}所附带的{0}",
    "有人反映客服人员把{0}和{1}弄混了",
)


def english() -> list[tuple[str, str]]:
    """120 different questions with 15 answers."""
    return [
        (SENTENCES[(i + j) % 4].format(first, TOPICS[(i + j) % 15]) + ".", f"Team {first}")
        for i, first in enumerate(TOPICS)
        for j in range(1, 9)
    ]


def chinese() -> list[tuple[str, str]]:
    """80 different questions with 10 answers."""
    return [
        (
            CHINESE_SENTENCES[(i + j) % 4].format(first, CHINESE_TOPICS[(i + j) % 10]) + "。",
            f"{first}组",
        )
        for i, first in enumerate(CHINESE_TOPICS)
        for j in range(1, 9)
    ]


@dataclass(frozen=True)
class Planted:
    """A manifest on disk, and gate → the (split, line) pairs that it must report.

    The first `clean` training rows are ordinary; behind them is a long one that is repeated later.
    """

    manifest: Path
    clean: int
    faults: dict[str, set[tuple[str, int]]]


def plant(
    folder: Path,
    language: str,
    rows: Sequence[Pair],
    extra: Mapping[str, Sequence[Pair]],
    leak: Pair,
) -> Planted:
    """Write `rows`, behind them the planted ones, and a test file whose line 2 is `leak`."""
    train = [*rows]
    faults: dict[str, set[tuple[str, int]]] = {"contamination": {("test", 2)}}
    for gate, pairs in extra.items():
        for pair in pairs:
            train.append(pair)
            faults.setdefault(gate, set()).add(("train", len(train)))
    held_out = (
        ("Which planets have rings?", "Saturn") if language == "en" else ("哪些行星有光环?", "土星")
    )
    for name, content in (("train", train), ("test", [held_out, leak])):
        lines = [
            json.dumps({"prompt": question, "completion": answer}, ensure_ascii=False)
            for question, answer in content
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    manifest = folder / "planted.toml"
    manifest.write_text(MANIFEST.format(language=language), encoding="utf-8")
    return Planted(manifest, len(rows) - 1, faults)


MANIFEST = """\
[adapter]
name = "planted"
language = ["{language}"]
[base]
model = "smollm2-135m-instruct"
[method]
kind = "lora"
[data]
train = "train.jsonl"
test = "test.jsonl"
format = "prompt-completion"
validation_share = 0.0001
[train]
max_length = 256
[data.gates]
empty_supervision.action = "warn"
secrets.action = "warn"
length_outliers.threshold = 8
language.threshold = 0.0
"""
