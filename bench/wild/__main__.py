"""Import adapters of several PEFT versions and savers, and ask each that came in.

    python -m bench.wild                                   # the PEFT of this environment
    python -m bench.wild --maker P04/bin/python --maker P12/bin/python

An environment of an old PEFT: `pip install peft==0.4.0 transformers==4.31.0` and a torch. For each
adapter is printed that it was imported and how far its answers are from the saver's own, in nats at
most, or the sentence that it was refused with. 1 if one was imported whose answers are others.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.wild import by_hand
from bench.wild.make import IDS

NEAR = 2e-4  # nats: float32 sums of two versions


@dataclass(frozen=True)
class Judged:
    """What became of an adapter.

    Attributes:
        off: largest distance of a log-probability from the saver's, if it was imported.
        moves: largest distance of the saver's from the base's.
        said: what it was refused with, if it was.
    """

    maker: str
    name: str
    off: float | None
    said: str
    moves: float = 0.0

    @property
    def half(self) -> bool:
        """Imported, and another adapter than the one that was saved; or one that does nothing."""
        return self.off is not None and not (self.off < NEAR and self.moves > 100 * NEAR)


def judge(base: Path, folder: Path, maker: str, scratch: Path) -> Judged:
    """Import one folder and ask it what its saver was asked."""
    import torch

    from adapterworks.builders.evaluation.served_model import ServedModel
    from adapterworks.registry.imports.adapter import check_adapter
    from adapterworks.registry.imports.errors import ImportRefused
    from adapterworks.registry.imports.modules import read_modules
    from adapterworks.registry.releases.release import Servable

    scratch.mkdir()
    try:
        check_adapter(folder, scratch, modules=lambda: read_modules(base), base_name="tiny")
    except ImportRefused as refusal:
        said = refusal.message + (f" ({refusal.hint})" if refusal.hint else "")
        return Judged(maker, folder.name, None, said)
    expected = torch.tensor(
        json.loads(folder.with_name(f"{folder.name}.expected.json").read_text())
    )
    servable = Servable(form="lora", origin="native", rank=8)
    model = ServedModel(base, scratch, servable)
    off = model.log_probabilities(IDS) - expected
    moves = model.log_probabilities(IDS, adapter=False) - expected
    return Judged(maker, folder.name, float(off.abs().max()), "", float(moves.abs().max()))


def judge_all(makers: Sequence[Path], place: Path) -> tuple[list[Judged], dict[str, str]]:
    """Make and import everything; also what a version could not make, by name."""
    from tests.builders.build_support import make_tiny_base

    base = make_tiny_base(place / "base")
    found: list[Judged] = []
    skipped: dict[str, str] = {}
    script = Path(__file__).with_name("make.py")
    for number, python in enumerate(makers):
        out = place / f"made-{number}"
        out.mkdir()
        subprocess.run(
            [str(python), str(script), str(base), str(out)], check=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        version = json.loads((out / "version.json").read_text())
        for name, why in json.loads((out / "skipped.json").read_text()).items():
            skipped[f"{version} {name}"] = why
        found += _folders(base, out, f"peft {version}", place)
        if number == len(makers) - 1:
            (place / "by-hand").mkdir()
            by_hand.make(out / "plain", place / "by-hand")
            found += _folders(base, place / "by-hand", "by hand", place)
    return found, skipped


def _folders(base: Path, out: Path, maker: str, place: Path) -> list[Judged]:
    folders = sorted(path for path in out.iterdir() if path.is_dir())
    return [
        judge(base, folder, maker, place / f"clean-{maker}-{folder.name}".replace(" ", "-"))
        for folder in folders
    ]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maker", type=Path, action="append", default=[],
                        help="the Python of an environment with another PEFT")  # fmt: skip
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found, skipped = judge_all([*arguments.maker, Path(sys.executable)], Path(place))
    for each in found:
        became = (
            each.said
            if each.off is None
            else f"imported, {each.off:.1e} nats off, the base {each.moves:.2g}"
        )
        sys.stdout.write(f"{each.maker:<12} {each.name:<22} {became}\n")
    for name, why in skipped.items():
        sys.stdout.write(f"not made: peft {name}: {why}\n")
    imported = [each for each in found if each.off is not None]
    half = [each for each in found if each.half]
    sys.stdout.write(
        f"\n{len(found)} adapters: {len(imported)} imported, {len(found) - len(imported)} refused, "
        f"{len(half)} served half\n"
    )
    return int(bool(half))


if __name__ == "__main__":
    sys.exit(main())
