"""The pictures of the documentation: `python -m docs.make.pictures` makes what is not current.

    house.svg              the packages and their folders, from pyproject's import contracts
    loss.png scores.png    of the release that the tutorial with own data builds
    init.svg build.svg …   that tutorial's commands as a terminal showed them

The last two are of a real build, in `.cache/tutorial`; `made.json` has the digest of what they were
made from, so that a build is made again only when the tutorial's rows or commands have changed.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

from adapterworks.manifests.digests import digest_bytes, digest_json
from bench.apart import environment

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "pictures"
ROWS = ROOT / "docs" / "tutorials" / "tickets.csv"
WORK = ROOT / ".cache" / "tutorial"
COLUMNS = 110
# Picture → the commands in it, in the order in which they are run.
RECORDED = {
    "init": ["adapters init tickets --from tickets.csv", "adapters validate tickets"],
    "build": ["adapters build tickets --profile quick"],
    "registry": [
        'adapters promote tickets@1 prod --why "first release"',
        "adapters list tickets",
        "adapters log tickets:prod",
    ],
}
_KEPT_LINES = 16  # of a command's output: its last ones
_PACKAGES = {
    "adapterworks": "composition root: the command, the Python API",
    "adapterworks.builders": "making it exist",
    "adapterworks.gateway": "using it",
    "adapterworks.registry": "what exists",
    "adapterworks.manifests": "what should exist",
}


def made_from() -> str:
    """The digest of what the recorded pictures show."""
    return digest_json({"rows": digest_bytes(ROWS.read_bytes()), "commands": RECORDED})


def main() -> None:
    """Make what is not current."""
    FOLDER.mkdir(exist_ok=True)
    _write(FOLDER / "house.svg", house())
    state = FOLDER / "made.json"
    if state.exists() and json.loads(state.read_text())["from"] == made_from():
        return
    print("docs: building the tutorial's adapter for its pictures: some minutes", flush=True)
    for name, commands in RECORDED.items():
        _write(FOLDER / f"{name}.svg", _recording(commands))
    for name in ("loss", "scores"):
        _plot(name)
    state.write_text(json.dumps({"from": made_from()}) + "\n")


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
        print(f"docs: wrote {path.relative_to(ROOT)}")


def _environment() -> dict[str, str]:
    return environment(
        WORK / "home",
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        ADAPTERS_USER="you",
        COLUMNS=str(COLUMNS),
        FORCE_COLOR="1",
    )


def _recording(commands: list[str]) -> str:
    """The SVG of a terminal in which the commands were typed."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for command in commands:
        lines = _printed(command).replace(str(WORK), "~").splitlines()
        console.print(Text.assemble(("$ ", "bold green"), command))
        if len(lines) > _KEPT_LINES:
            console.print(Text("…"))
        console.print(Text.from_ansi("\n".join(lines[-_KEPT_LINES:])))
    svg = console.export_svg(title="", unique_id="terminal")
    # The reader's own fonts: nothing is fetched.
    svg = re.sub(r"@font-face \{.*?\}\s*|<!--.*?-->\n?", "", svg, flags=re.DOTALL)
    return re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE)


def _printed(command: str) -> str:
    """What a command prints; kept, so that a build that was interrupted here is not begun anew."""
    kept = WORK / made_from().removeprefix("sha256:")[:12] / f"{digest_json(command)[7:19]}.txt"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROWS, WORK)
        done = subprocess.run(
            ["bash", "-c", command + " --force" * command.startswith("adapters init")],
            env=_environment(),
            cwd=WORK,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"docs: $ {command}\n{done.stdout}")
        kept.write_text(done.stdout, encoding="utf-8")
    return kept.read_text(encoding="utf-8")


def _plot(name: str) -> None:
    """A plot of the tutorial's release, out of the registry, read as any of its files."""
    from adapterworks.app import App
    from adapterworks.settings import Settings

    app = App(Settings.from_environment(_environment()))
    digest = app.registry.resolve("tickets@1").digest
    (FOLDER / f"{name}.png").write_bytes(app.registry.read(digest, f"plots/{name}.png"))
    app.close()


def house() -> str:
    """The house's plan: a package a box, a folder a line, in import order from top to bottom."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {
        contract["containers"][0]: contract["layers"]
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers" and contract["containers"][0] in _PACKAGES
    }
    own = contracts["adapterworks"]
    below = {"builders", "registry", "manifests"}  # they have boxes of their own
    inside = [line for line in own if not below & {*line.split(" | ")}]
    boxes = [
        ("adapterworks", inside, 20, 20, 860),
        ("builders", contracts.get("adapterworks.builders", []), 20, 0, 420),
        ("gateway", contracts.get("adapterworks.gateway", []), 460, 0, 420),
        ("registry", contracts.get("adapterworks.registry", []), 20, 0, 860),
        ("manifests", contracts.get("adapterworks.manifests", []), 20, 0, 860),
    ]
    heights = {name: 56 + 20 * len(lines) for name, lines, *_ in boxes}
    second = 40 + heights["adapterworks"]
    third = second + 20 + max(heights["builders"], heights["gateway"])
    tops = {"adapterworks": 20, "builders": second, "gateway": second, "registry": third}
    tops["manifests"] = third + 20 + heights["registry"]
    total = tops["manifests"] + heights["manifests"] + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 {total}" '
        'font-family="sans-serif">',
        "<title>Packages and folders, in import order: each imports only what stands below</title>",
        f'<rect width="900" height="{total}" fill="#ffffff"/>',
    ]
    for name, lines, x, _, width in boxes:
        parts += _box(name, lines, x, tops[name], width, heights[name])
    return "\n".join([*parts, "</svg>"]) + "\n"


def _box(name: str, lines: list[str], x: int, y: int, width: int, height: int) -> Iterator[str]:
    said = _PACKAGES["adapterworks" if name == "adapterworks" else f"adapterworks.{name}"]
    yield (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="#e8eaf6" '
        'stroke="#3f51b5"/>'
    )
    yield f'<text x="{x + 14}" y="{y + 26}" font-size="16" font-weight="bold">{name}/'
    yield f'<tspan font-weight="normal" font-size="13" fill="#444" dx="8">{said}</tspan></text>'
    for number, line in enumerate(lines):
        shown = line.replace(" | ", "  ·  ")
        yield f'<text x="{x + 14}" y="{y + 50 + 20 * number}" font-size="13">{shown}</text>'


if __name__ == "__main__":
    main()
