"""What is shown instead of a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adapterworks.gateway.console.page import Page


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem(Page):
    """What went wrong, and what to do.

    Attributes:
        status: HTTP's number for it.
        message, hint: in the API's own words, or the catalogue's.
    """

    template: ClassVar[str] = "problem.html"
    status: int
    message: str
    hint: str
