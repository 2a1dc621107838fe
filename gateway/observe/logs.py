"""Structured logs on stderr: one JSON object a line, without prompts unless they are asked for.

    _log.info("answered", extra={"fields": {"request_id": …, "status": 200, "prompt": …}})

Invariant: the fields of `PRIVATE` are dropped by the formatter unless `[log] prompts = true`, so a
line of code that logs them cannot leak them by itself; keys are cut to their id everywhere. What a
client or a stranger's release is called does nothing to a terminal and begins no line.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from adapterworks.gateway.config.tables import LogTable
from adapterworks.manifests.texts import harmless, one_line

PRIVATE = frozenset({"prompt", "messages", "input", "answer", "output", "body"})
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)
_KEY = re.compile(r"(aw-[a-z2-7]{8})-[a-z2-7]+")


class StructuredFormatter(logging.Formatter):
    """Formats records as JSON lines, or as text for people."""

    def __init__(self, table: LogTable) -> None:
        super().__init__()
        self._json = table.format == "json"
        self._prompts = table.prompts

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = getattr(record, "fields", {})
        if not self._prompts:
            fields = {name: value for name, value in fields.items() if name not in PRIVATE}
        entry = {
            "at": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields,
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        if self._json:
            text = harmless(_ENCODER.encode(entry))
        else:
            shown = " ".join(f"{name}={one_line(value)}" for name, value in fields.items())
            said = one_line(entry["message"])
            text = f"{entry['at']} {entry['level']:7} {said} {shown}".rstrip()
            if "exception" in entry:
                text += f"\n{harmless(entry['exception'])}"
        return _KEY.sub(r"\1-…", text)


def configure_logging(table: LogTable, stream: TextIO | None = None) -> None:
    """Send the root logger's records to `stream` (stderr), as `[log]` says."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(StructuredFormatter(table))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(table.level.upper())
