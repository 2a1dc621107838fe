"""How much JSON a body may hold: looked at before it is parsed, which is what takes long.

A text of four megabytes is parsed in milliseconds, as many bytes of keys or lists in half a second,
during which the loop sends nobody anything. So what is bounded is how many there are.
"""

from __future__ import annotations

from adapterworks.manifests.errors import InvalidInput

MOST_TEXTS = 100_000  # keys, and values that are texts
MOST_LISTS = 50_000  # lists and objects
MOST_VALUES = 600_000  # a thousand texts as token ids have as many
_HINT = "send it in several requests"


def check(data: bytes) -> None:
    """Refuse JSON that holds more than anybody needs; what is no JSON may pass.

    Raises:
        InvalidInput: it has more texts, lists or values than may be.
    """
    # Upper bounds first, which a scan for bytes gives: texts hold quotes, brackets and commas too.
    if data.count(b'"') > 2 * MOST_TEXTS:
        data = _unescaped(data)
        if data.count(b'"') > 2 * MOST_TEXTS:
            raise InvalidInput(f"the body holds more than {MOST_TEXTS} keys and texts", hint=_HINT)
    if _lists(data) <= MOST_LISTS and data.count(b",") < MOST_VALUES:
        return
    bare = b"".join(_unescaped(data).split(b'"')[::2])
    if _lists(bare) > MOST_LISTS:
        raise InvalidInput(f"the body holds more than {MOST_LISTS} lists and objects", hint=_HINT)
    if bare.count(b",") >= MOST_VALUES:
        raise InvalidInput(f"the body holds more than {MOST_VALUES} values", hint=_HINT)


def _lists(data: bytes) -> int:
    return data.count(b"[") + data.count(b"{")


def _unescaped(data: bytes) -> bytes:
    """Without what a backslash stands before, so that each quote begins or ends a text."""
    return data.replace(b"\\\\", b"").replace(b'\\"', b"")
