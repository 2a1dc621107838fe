"""Which column says on which side each row is, and what it says; pure.

Invariant: a row that somebody marked as held out is never among those that are trained on: what is
almost such a column is refused by name.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from adapterworks.manifests.errors import InvalidInput

NAMES = ("split", "subset", "fold", "partition", "数据集", "划分")
_MEANS = {
    **dict.fromkeys(("train", "training", "训练", "训练集"), "train"),
    **dict.fromkeys(
        ("test", "testing", "eval", "evaluation", "holdout", "heldout", "测试", "测试集"), "test"
    ),
    **dict.fromkeys(
        ("validation", "valid", "val", "dev", "development", "验证", "验证集"), "validation"
    ),
}


def folded(name: str) -> str:
    """A column's name as names are compared: width, case and space around it do not count."""
    return unicodedata.normalize("NFKC", name).strip().lower()


def side(value: Any) -> str | None:
    """`train`, `validation` or `test`; None of what says none of them."""
    return _MEANS.get(folded(str(value)).replace("-", "").replace("_", "").replace(" ", ""))


def split_column(records: Sequence[Mapping[str, Any]]) -> str | None:
    """A column that says on which side each row is, if there is one.

    Raises:
        InvalidInput: it says so of some rows only, or of none that is to be trained on.
    """
    names = dict.fromkeys(name for record in records for name in record if isinstance(name, str))
    for name in names:
        if folded(name) not in NAMES:
            continue
        values = [record.get(name) for record in records]
        sides = {side(value) for value in values}
        if sides == {None}:
            continue  # a word of another meaning
        if None in sides:
            other = next(value for value in values if side(value) is None)
            said = f"`{other}`" if str(other or "").strip() else "nothing"
            raise InvalidInput(
                f"column `{name}` says of some rows on which side they are, and {said} of others",
                hint="write `train`, `validation` or `test` in each row, or rename the column if "
                "it means something else",
            )
        if "train" not in sides:
            raise InvalidInput(
                f"column `{name}` marks no row as one to train on",
                hint="write `train` in those, or rename the column if it means something else",
            )
        return name
    return None
