"""Every form and type of export of one release: size, answers, distance, in the engine it is for.

    python -m bench.exports                    a random LoRA on a small random Llama, made for this
    python -m bench.exports --ref medical@1    a release of this machine's registry

Distances are nats a token from the release as Hugging Face and PEFT compute it. What a proof
refuses is a row too, with what it said. On random weights four bits cost far more than on a model
that was trained: use a release of yours for figures to go by.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterworks.builders.exports import EXPORTS
from adapterworks.builders.exports.run import Exported, run_export
from adapterworks.manifests.errors import AdapterworksError
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.registry import Registry

# Rows of 256, so that K-quants are K-quants.
_SHAPE = {"hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 8}


@dataclass(frozen=True)
class Row:
    """One form and type.

    Attributes:
        done: what was written; None where it was refused, and `said` says why.
        seconds: with its proof.
    """

    form: str
    type: str
    done: Exported | None
    said: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        told = {"form": self.form, "type": self.type, "seconds": round(self.seconds, 1)}
        return told | ({"said": self.said} if self.done is None else self.done.to_json())

    def line(self) -> str:
        """For people."""
        start = f"{self.form:<10} {self.type:<7}"
        if self.done is None or self.done.proof is None:
            return f"{start} {self.said or 'not proved: its engine is not installed'}"
        proof = self.done.proof
        return (
            f"{start} {self.done.size / 1e6:>8.2f} MB  {proof.divergence:>8.1e}  "
            f"{proof.worst:>8.1e}  {proof.same_answers:>2} of {proof.answers:<2}  "
            f"{self.seconds:>5.1f} s  {proof.version}"
        )


def rows(
    ref: str, registry: Registry, bases: BaseStore, place: Path, forms: Sequence[str]
) -> Iterator[Row]:
    """Export everything, one after the other."""
    for form in forms:
        for type_ in EXPORTS[form].types:
            start, done, said = time.monotonic(), None, ""
            try:
                done = run_export(ref, form, registry=registry, bases=bases, who="bench",
                                  type_=type_, out=place / f"{form}-{type_}")  # fmt: skip
            except AdapterworksError as error:
                said = error.message
            yield Row(form, type_, done, said, time.monotonic() - start)


@contextmanager
def _shelf(ref: str | None, place: Path) -> Iterator[tuple[str, Registry, BaseStore]]:
    """The release, and where it is."""
    if ref is not None:
        from adapterworks.app import App

        app = App()
        try:
            yield ref, app.registry, app.bases
        finally:
            app.close()
        return
    from tests.builders.exports.models import make_model
    from tests.builders.merging.conftest import make_shelf

    (place / "shelf").mkdir()
    shelf = make_shelf(place / "shelf", make_model(place / "model", **_SHAPE))
    targets = ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
    shelf.publish("random", 1, target_modules=targets)
    try:
        yield "random@1", shelf.registry, shelf.bases
    finally:
        shelf.registry.close()


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ref", help="a release of this machine's registry")
    parser.add_argument("--form", action="append", choices=list(EXPORTS), help="default: all")
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        with _shelf(arguments.ref, place) as (ref, registry, bases):
            if not arguments.json:
                sys.stdout.write("form       type         size  mean nats   at most  answers\n")
            for row in rows(ref, registry, bases, place, arguments.form or list(EXPORTS)):
                said = json.dumps(row.to_json()) if arguments.json else row.line()
                sys.stdout.write(f"{said}\n")
                sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
