"""What commands share that have models make rows: the file, and how far they are."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from adapterworks.cli import printing


def write_lines(out: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """The whole file or none of it."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    out.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(out)


def show_progress(what: str, done: int, total: int) -> None:
    """A moving line, for a terminal."""
    printing.echo_moving(f"{done}/{total} {what}", last=done == total)
