"""How an error looks on a terminal."""

from __future__ import annotations

import pytest

from adapterworks.errors import render
from adapterworks.manifests.errors import NotFound


def test_what_a_stranger_wrote_does_nothing_to_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    render(NotFound("no `\x1b]0;owned\x07`\nsecond line", hint="look at \u202e\x9b2J"))
    assert capsys.readouterr().err == (
        "error: no `\\x1b]0;owned\\x07`\nsecond line\n\nhint: look at \\u202e\\x9b2J\n"
    )
