"""Text that somebody else wrote, made safe to be shown.

Invariant: what it gives does nothing to a terminal and forges no line of a log; nothing else of the
text is changed.
"""

from __future__ import annotations

import re

# All but tab and line feed, characters that turn the direction of text, half characters.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(value: object) -> str:
    """A value as text that does nothing to a terminal: control characters are written out.

    Much of what is shown was written by whoever made a release.
    """
    return _CONTROL.sub(lambda found: ascii(found.group())[1:-1], str(value))


def one_line(value: object) -> str:
    """As `harmless`, without a line feed: nobody else's text begins a line of its own."""
    return harmless(value).replace("\n", "\\n")
