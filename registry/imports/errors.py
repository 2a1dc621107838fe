"""The one error of an import: which file, and what is wrong with it."""

from __future__ import annotations

from adapterworks.manifests.errors import Refused


class ImportRefused(Refused):
    """An adapter's bytes were looked at and not taken.

    Args:
        file: the file inside the adapter's folder, as it is named there.
        reason: what is wrong with it.
        hint: what the owner of the adapter can do.
    """

    def __init__(self, file: str, reason: str, *, hint: str | None = None) -> None:
        self.file = show(file)
        self.reason = reason
        super().__init__(f"`{self.file}` is refused: {reason}", hint=hint)


def show(text: str, limit: int = 120) -> str:
    """Untrusted text made safe for a terminal: escapes for everything but printable ASCII."""
    safe = "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode() for c in text)
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"
