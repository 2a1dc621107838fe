"""What tests of strategies share: seed rows in a file, and the command on a stand-in endpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adapterworks.app import App
from adapterworks.builders.data.rows import Row, chat
from adapterworks.cli.main import cli

# Names with nothing in common, so that questions about them are new.
NAMES = (
    *("amber", "basil", "cedar", "dahlia", "ember", "fjord", "garnet"),
    *("hazel", "indigo", "jasper", "kelp", "lotus", "maple", "nettle"),
)


class Synth:
    """`adapters data synth` on the seeds of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seeds = folder / "seeds.jsonl"
        self.out = folder / "rows.jsonl"

    def write(self, rows: list[Row]) -> None:
        self.seeds.write_text(
            "".join(json.dumps({"messages": row.messages, **row.meta}) + "\n" for row in rows)
        )

    def arguments(self, strategy: str, url: str, *more: str) -> list[str]:
        given = ["data", "synth", str(self.seeds), "--strategy", strategy]
        return [*given, "--generator", f"{url}#writer", "--out", str(self.out), *more]

    def run(self, strategy: str, url: str, *more: str) -> Any:
        app = App()
        given = [*self.arguments(strategy, url, *more), "--json"]
        result = CliRunner().invoke(cli, given, obj=app, catch_exceptions=False)
        app.close()
        return json.loads(result.stdout)

    @property
    def rows(self) -> list[Any]:
        return [json.loads(line) for line in self.out.read_text().splitlines()]


def shown(body: dict[str, Any], title: str) -> str:
    """A part of the material that a model was shown."""
    text = str(body["messages"][-1]["content"])
    return text.split(f"### {title}\n")[1].split("\n\n###")[0]


def system(body: dict[str, Any]) -> str:
    """What a model was told to do; empty where it was asked a question."""
    first = body["messages"][0]
    return str(first["content"]) if first["role"] == "system" else ""


@pytest.fixture
def synth(tmp_path: Path, home: Path) -> Synth:
    made = Synth(tmp_path)
    made.write(
        [chat(f"Who lights the {name} {at} lamp of {name}?", f"The {name} porter.")
         for at, name in enumerate(NAMES[:6])]
    )  # fmt: skip
    return made


__all__ = ["NAMES", "Synth", "shown", "synth", "system"]
