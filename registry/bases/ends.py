"""What ends an answer: the ids that a base is stopped at, and the token its template closes with.

Invariant: they are the same for evaluation, for samples that are learnt from, for exports and for
vLLM, which reads the same files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.registry.bases.files import GENERATION

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TURNS = [{"role": "user", "content": "one?"}, {"role": "assistant", "content": "two."}]
_LATER = {"role": "user", "content": "three?"}


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


def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The ids of all special tokens: those with a role (`eos`), and those that are only marked as
    special in the tokenizer's own list, as Gemma 3's `<end_of_turn>` is."""
    marked = (id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special)
    return frozenset((*tokenizer.all_special_ids, *marked))


def turn_end(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The special token that the chat template closes an answer with; None where it closes it with
    none, or refuses a question and an answer.

    It stands behind an answer whether or not the conversation goes on; what follows the last answer
    alone (Phi-3's `<|endoftext|>`) closes the conversation. Of several, it is the end of text, or
    else the first.
    """
    alone, later = _behind(tokenizer, _TURNS), _behind(tokenizer, [*_TURNS, _LATER])
    if alone is None:
        return None
    special = special_ids(tokenizer)
    shared = [] if later is None else _shared(alone, later)
    found = [at for at, token in enumerate(shared) if token in special]
    if found:
        at = next((at for at in found if shared[at] == tokenizer.eos_token_id), found[0])
        rest = [token for token in shared[at + 1 :] if token not in special]
        return None if tokenizer.decode(rest).strip() else shared[at]
    for token in reversed(alone):
        if token in special:
            return token
        if tokenizer.decode([token]).strip():
            return None
    return None


def _behind(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[Mapping[str, str]]
) -> list[int] | None:
    """What the template writes behind the answer; None where it refuses the turns."""
    from jinja2 import TemplateError

    try:
        text = str(tokenizer.apply_chat_template([*turns], tokenize=False))
    except (TemplateError, TypeError, ValueError):  # ValueError: there is no template
        return None
    behind = text.rpartition(_TURNS[1]["content"])[2]
    ids: list[int] = tokenizer(behind, add_special_tokens=False)["input_ids"]
    return ids


def _shared(one: Sequence[int], other: Sequence[int]) -> list[int]:
    """What both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    differ = next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
    return [*one[:differ]]


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
