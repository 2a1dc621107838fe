"""What ends an answer: the ids that a base is stopped at, and the token its template closes with.

Invariant: they are the same for evaluation, for samples that are learnt from, for exports and for
vLLM, which reads the same files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.registry.bases.files import GENERATION

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TURNS = [{"role": "user", "content": "one?"}, {"role": "assistant", "content": "two."}]


def ends(checkpoint: Path, eos: int | None) -> tuple[int, ...]:
    """The ids that end an answer: the tokenizer's end of text and those the model names.

    Args:
        checkpoint: its `generation_config.json` names them, else its `config.json`.
        eos: the tokenizer's.
    """
    found: list[Any] = [eos]
    for name in (GENERATION, "config.json"):
        if (checkpoint / name).is_file():
            config = json.loads((checkpoint / name).read_text(encoding="utf-8"))
            own = config.get("eos_token_id", config.get("text_config", {}).get("eos_token_id"))
            found += own if isinstance(own, list) else [own]
            break
    return tuple(dict.fromkeys(int(token) for token in found if token is not None))


def turn_end(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The special token that the chat template closes an answer with; None where it closes it with
    none, or refuses a question and an answer."""
    from jinja2 import TemplateError

    try:
        text: Any = tokenizer.apply_chat_template(_TURNS, tokenize=False)
    except (TemplateError, TypeError, ValueError):  # ValueError: there is no template
        return None
    special = set(tokenizer.all_special_ids)
    for token in reversed(tokenizer(text, add_special_tokens=False)["input_ids"]):
        if token in special:
            return int(token)
        if tokenizer.decode([token]).strip():
            return None
    return None


def stops_at_end(checkpoint: Path) -> bool:
    """Whether the token that its template closes an answer with, if any, is one that the base is
    stopped at."""
    end, stop = _end_and_stops(checkpoint)
    return end is None or end in stop


def stop_at_end(checkpoint: Path) -> None:
    """Name the token that closes an answer among those that the base is stopped at.

    Args:
        checkpoint: of files that nobody else has but for their bytes: the file is replaced.
    """
    path = checkpoint / GENERATION
    end, stop = _end_and_stops(checkpoint)
    if end is None or end in stop:
        return
    values = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    values["eos_token_id"] = [*stop, end]
    path.unlink(missing_ok=True)  # it may share its bytes with the original's
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _end_and_stops(checkpoint: Path) -> tuple[int | None, tuple[int, ...]]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    return turn_end(tokenizer), ends(checkpoint, tokenizer.eos_token_id)
