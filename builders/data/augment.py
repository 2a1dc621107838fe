"""Deterministic augmentation: other ways to put a question, synonyms from a given lexicon.

Invariant: only the last user turn changes, never an answer; the result depends on the rows, the
table and the seed only. A row whose question would not change gives no copy.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

from adapterworks.builders.data.mix import by_hash
from adapterworks.builders.data.rows import Row
from adapterworks.builders.data.wording import alike, words
from adapterworks.manifests.data_tables import AugmentTable
from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.manifests.paths import place


@dataclass(frozen=True)
class Lexicon:
    """Groups of words that may stand for each other in the rows' domain."""

    groups: tuple[tuple[str, ...], ...]

    def substitute(self, text: str, key: str) -> str:
        """The text with every word of a group replaced by another one of it, chosen by `key`."""
        known: dict[str, tuple[str, ...]] = {}
        for group in self.groups:
            for word in group:
                known.setdefault(word.casefold(), group)
        # In one pass: what a group has put there is no word of another group.
        longest_first = sorted({w for g in self.groups for w in g}, key=lambda w: (-len(w), w))
        pattern = "|".join(map(_whole_word, longest_first)) or r"(?!)"

        def other(found: re.Match[str]) -> str:
            group = known.get(found[0].casefold())
            return found[0] if group is None else _other(group, found[0], key)

        return re.sub(pattern, other, text, flags=re.IGNORECASE)


def read_lexicon(path: Path) -> Lexicon:
    """A lexicon: `.json` (a list of groups, or word → synonyms) or `.csv` (a group a row).

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is neither, or a group has fewer than two words, whatever their case.
    """
    hint = 'write [["heart attack", "myocardial infarction"], …] or one group a row'
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            value = json.loads(text)
            groups = value
            if isinstance(value, dict):
                groups = [
                    [word, *others] if isinstance(others, list) else others
                    for word, others in value.items()
                ]
        else:
            groups = [
                [cell.strip() for cell in line if cell.strip()]
                for line in csv.reader(text.splitlines())
                if any(cell.strip() for cell in line)
            ]
    except FileNotFoundError:
        raise NotFound(f"there is no lexicon `{path}`", hint="check the path") from None
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"`{path}` is not a lexicon: {error}", hint=hint) from None
    well_formed = isinstance(groups, list) and all(
        isinstance(group, list) and all(isinstance(word, str) and word for word in group)
        for group in groups
    )
    if not well_formed or any(len({word.casefold() for word in group}) < 2 for group in groups):
        raise InvalidInput(f"`{path}` is not a lexicon of groups of synonyms", hint=hint)
    return Lexicon(tuple(tuple(dict.fromkeys(group)) for group in groups))


def augment(
    rows: Sequence[Row],
    table: AugmentTable,
    seed: int,
    *,
    folder: Path = Path(),
    held: Collection[str] = (),
) -> list[Row]:
    """The augmented copies, at most `table.share` of the rows; a relative lexicon is in `folder`.

    Args:
        held: questions that no copy may ask (`alike`): those of validation and test rows.

    Raises:
        NotFound, InvalidInput: as `read_lexicon`.
    """
    lexicon = read_lexicon(place(table.lexicon, folder)) if table.lexicon else None
    templates = cycle(table.paraphrase_templates or ("{prompt}",))
    wanted = round(table.share * len(rows))
    copies: list[Row] = []
    seen = {row.digest for row in rows}
    # Rows that cannot be augmented are passed over, so go through all of them in the seed's order.
    for row in by_hash([row for row in rows if row.question], seed):
        if len(copies) >= wanted:
            break
        question = lexicon.substitute(row.question, row.digest) if lexicon else row.question
        question = next(templates).replace("{prompt}", question)
        copy = _with_question(row, question)
        if copy.digest not in seen and (not held or alike(question) not in held):
            seen.add(copy.digest)
            copies.append(copy.with_meta(augmented=True))
    return copies


def _with_question(row: Row, question: str) -> Row:
    last = max(i for i, turn in enumerate(row.context) if turn["role"] == "user")
    turns = [*row.messages]
    turns[last] = turns[last].copy()
    turns[last]["content"] = question
    return replace(row, messages=tuple(turns))


def _whole_word(word: str) -> str:
    escaped = re.escape(word)
    unspaced = all(len(part) == 1 and part > "\u0e00" for part in words(word))
    return escaped if unspaced else rf"(?<!\w){escaped}(?!\w)"


def _other(group: tuple[str, ...], found: str, key: str) -> str:
    others = [word for word in group if word.casefold() != found.casefold()]
    choice = hashlib.sha256(f"{key}:{found.casefold()}".encode()).digest()[0] % len(others)
    word = others[choice]
    return word[:1].upper() + word[1:] if found[:1].isupper() else word
