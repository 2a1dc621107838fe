"""What a build sends to models behind addresses: said before it is sent, with who gets how much."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from adapterworks.manifests.hosts import is_loopback
from adapterworks.manifests.judging import JudgeTable
from adapterworks.manifests.models import Manifest


def sent(manifest: Manifest, rows: Mapping[str, int]) -> list[str]:
    """A sentence for each judge: of how many rows what is sent where, and whether that is another
    machine.

    Args:
        rows: by split.
    """
    found = []
    rewarding: JudgeTable | None = getattr(manifest.objective, "judge", None)
    if rewarding is not None:
        told = f"prompts of {rows.get('train', 0)} training and {rows.get('validation', 0)} "
        told += "validation rows, with the answers that are sampled to them"
        found.append(_said(told, rewarding) + _budget(rewarding))
    judge = manifest.evaluate.judge
    if judge is not None and rows.get("test"):
        found.append(of_test_rows(rows["test"], judge) + _budget(judge))
    return found


def of_test_rows(count: int, judge: JudgeTable) -> str:
    """What a judge is shown of so many test rows."""
    return _said(f"questions, reference answers and answers of {count} test rows", judge)


def _said(what: str, judge: JudgeTable) -> str:
    url, _, model = judge.endpoint.partition("#")
    address = urlsplit(url)
    stays = is_loopback(address.hostname or "")
    where = "on this machine" if stays else "so they leave this machine"
    return f"{what} are sent to the judge `{model}` at {address.netloc}, {where}"


def _budget(judge: JudgeTable) -> str:
    return f"; at most {judge.max_tokens:,} tokens"
