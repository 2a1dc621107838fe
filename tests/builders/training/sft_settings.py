"""The trainings whose losses are kept in `sft_losses.json`: settings and rows, nothing random.

Read by the test and by the script that made the file, so it uses only what both code states have.
"""

from __future__ import annotations

from typing import Any

from adapterworks.builders.data.rows import Row, chat

STEPS = 20
ROWS, VALIDATION = 40, 6
# Setting → method, kind of rows, and `[train]` beside what all have.
SETTINGS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "lora, shared prefix": ("lora", "chats", {}),
    "lora, padded": ("lora", "chats", {"share_prefix": False}),
    "lora, packed": ("lora", "chats", {"packing": True, "group_by_length": False}),
    "lora, accumulated": ("lora", "chats", {"micro_batch_size": 3, "batch_size": 6}),
    "lora, accumulated, padded": (
        "lora",
        "chats",
        {"micro_batch_size": 2, "share_prefix": False, "group_by_length": False},
    ),
    "lora, all tokens": ("lora", "chats", {"loss_on": "all"}),
    "lora, text": ("lora", "texts", {"micro_batch_size": 4, "max_length": 160}),
    "lora, dropout": ("lora", "chats", {"method": {"dropout": 0.1}}),
    "qlora": ("qlora", "chats", {}),
    "adalora": ("adalora", "chats", {"micro_batch_size": 4}),
    "prompt-tuning": ("prompt-tuning", "chats", {}),
    "prompt-tuning, padded": ("prompt-tuning", "chats", {"share_prefix": False}),
    "full, accumulated": ("full", "chats", {"micro_batch_size": 2, "learning_rate": 1e-3}),
}
COMMON: dict[str, Any] = {
    "batch_size": 8,
    "max_length": 256,  # of no row anything is cut
    "epochs": 8.0,
    "max_steps": STEPS,
    "evaluations": 2,
    "learning_rate": 5e-3,
    "weight_decay": 0.01,
}
_WORDS = (
    *("fever", "cough", "rash", "ankle", "wrist", "sprain", "influenza"),
    *("of", "the", "left", "right", "acute", "chronic"),
)


def rows(kind: str, count: int, start: int = 0) -> list[Row]:
    """Rows of unequal length, some of several turns; the same ones always."""
    return [_text(i) if kind == "texts" else _chat(i) for i in range(start, start + count)]


def _chat(number: int) -> Row:
    row = chat(_words(number, 1 + number % 5), _words(3 * number + 1, 1 + number * number % 7))
    if number % 4 == 3:
        again = chat(_words(number + 5, 1 + number % 3), _words(number + 2, 1 + number % 4))
        row = Row((*row.messages, *again.messages))
    return Row(({"role": "system", "content": "Answer in a few words"}, *row.messages))


def _text(number: int) -> Row:
    return Row(text=_words(number, 6 + 11 * number % 37))  # some of several sequences


def _words(seed: int, count: int) -> str:
    return " ".join(_WORDS[(seed * 7 + k * (seed + 3)) % len(_WORDS)] for k in range(count))
