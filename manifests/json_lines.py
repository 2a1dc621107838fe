"""Lines of JSON, as files of them are read everywhere.

Invariant: only "\\n" ends a line. JSON writes U+2028, U+2029 and U+0085 as they are, at which
`str.splitlines` would cut; and a line that is not ended is not there yet: its writer was killed, or
is still at it.
"""

from __future__ import annotations

import json
from typing import Any


def ended_lines(data: bytes) -> list[bytes]:
    """The lines that are complete, without their ends, in order; blank ones are none."""
    return [line for line in data.split(b"\n")[:-1] if line.strip()]


def read_json_lines(data: bytes) -> list[Any]:
    """What every complete line holds, in order.

    Raises:
        ValueError: one is not JSON.
    """
    return [json.loads(line) for line in ended_lines(data)]
