"""Files that a user may have, with names that are ours or a library's: none may be executed."""

from __future__ import annotations

from pathlib import Path

OURS = ("registry", "gateway", "builders", "manifests", "tests", "bench", "adapterworks")
LIBRARIES = ("torch", "vllm", "transformers", "peft", "accelerate", "json", "typing", "uvicorn")
_CODE = """\
from pathlib import Path
Path(__file__).with_suffix(".executed").touch()
raise SystemExit(f"{__file__} was executed")
"""


def plant(folder: Path) -> None:
    """Write a module of each name, which leaves a mark when it is executed."""
    for name in (*OURS, *LIBRARIES):
        (folder / f"{name}.py").write_text(_CODE, encoding="utf-8")


def executed(folder: Path) -> list[str]:
    """The names of those that were."""
    return sorted(path.stem for path in folder.glob("*.executed"))
