"""A folder with a manifest, rows, a tiny base and a home of its own, for whole builds."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from click import Command
from click.testing import CliRunner, Result

from adapterworks.app import App
from adapterworks.cli.build import command as build
from adapterworks.registry.registry import Registry
from adapterworks.settings import Settings
from tests.warm.python import warm

MANIFEST = """
[adapter]
name = "tiny"
[base]
model = "{base}"
[method]
kind = "{kind}"
[data]
train = "train.jsonl"
validation = "validation.jsonl"
test = "test.jsonl"
[train]
epochs = {epochs}
max_length = 64
learning_rate = {rate}
[evaluate]
metrics = ["exact_match"]
max_new_tokens = 4
[serve]
max_conversion_error = 0.9
"""


class Workshop:
    """A folder with a manifest, its rows, a base and a home of its own."""

    def __init__(self, folder: Path, base: Path | str) -> None:
        self.folder, self.base, self.home = folder, base, folder / "home"
        for split, count, start in (("train", 24, 0), ("validation", 6, 100), ("test", 6, 200)):
            rows = [
                {
                    "messages": [
                        {"role": "user", "content": f"code of case {start + number}?"},
                        {"role": "assistant", "content": f"A{(start + number) % 7}"},
                    ]
                }
                for number in range(count)
            ]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{split}.jsonl").write_text(text)

    def manifest(
        self, kind: str = "lora", epochs: float = 4, rate: float = 1e-2, more: str = ""
    ) -> str:
        path = self.folder / f"{kind}.toml"
        text = MANIFEST.format(base=self.base, kind=kind, epochs=epochs, rate=rate)
        path.write_text(text + more)
        return str(path)

    @property
    def environment(self) -> dict[str, str]:
        return {"ADAPTERS_HOME": str(self.home), "ADAPTERS_USER": "tester"}

    @property
    def app(self) -> App:
        return App(Settings.from_environment(self.environment))

    def build(self, *arguments: str) -> Result:
        return self.invoke(build, *arguments)

    def invoke(self, command: Command, *arguments: str) -> Result:
        """A command in this process; what it trains is trained in another."""
        with warm():
            return CliRunner().invoke(command, arguments, obj=self.app)

    def json(self, *arguments: str) -> dict[str, Any]:
        result = self.build(*arguments, "--json")
        assert result.exit_code == 0, result.output or result.exception
        loaded: dict[str, Any] = json.loads(result.stdout)
        return loaded

    def registry(self) -> Registry:
        return self.app.registry

    def wait_for_checkpoint(self, process: subprocess.Popen[bytes]) -> Path:
        """The build directory, once a checkpoint is in it."""
        return self.wait_for_checkpoint_of("", process)

    def wait_for_checkpoint_of(self, name: str, process: subprocess.Popen[bytes]) -> Path:
        """The build directory of an adapter (of any, if its name is empty), as above."""
        deadline = time.monotonic() + 240
        pattern = f"{name}*/train/checkpoints/step-*/state.json"
        while time.monotonic() < deadline:
            assert process.poll() is None, "the build ended before it could be killed"
            for state in (self.home / "builds").glob(pattern):
                return state.parents[3]
            time.sleep(0.01)
        raise AssertionError("no checkpoint was written")
