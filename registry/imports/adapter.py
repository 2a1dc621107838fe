"""The checks of an import in their order: untrusted folder → clean PEFT folder.

    take → config → header → dtypes and values → modules and shapes → write

Invariant: what is written holds the tensors' bytes exactly as given, under the names PEFT and the
engine look for, and a config made here from checked values.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from adapterworks.registry.imports.config import LoraConfig, parse_config
from adapterworks.registry.imports.folder import CONFIG, WEIGHTS, take
from adapterworks.registry.imports.header import Header, read_header
from adapterworks.registry.imports.modules import BaseModules
from adapterworks.registry.imports.tensors import Layout, check_dtypes, match, minimal_targets
from adapterworks.registry.imports.values import check_values

_CHUNK = 4 << 20


@dataclass(frozen=True, slots=True)
class Checked:
    """A clean adapter: what it is, and what was done to get it.

    Attributes:
        renamed: (wrong prefix, right prefix), if names were mapped.
        ignored: other entries of the folder, not opened.
        notes: what the folder says and a release does not keep, in words.
    """

    config: LoraConfig
    layout: Layout
    target_modules: tuple[str, ...]
    ignored: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def rank(self) -> int:
        """The largest rank of any module: what `max_lora_rank` must reach."""
        return max(self.layout.modules.values())


def check_adapter(
    source: Path,
    into: Path,
    *,
    modules: Callable[[], BaseModules],
    base_name: str,
    rename: bool = False,
    template: str | None = None,
) -> Checked:
    """Check the adapter in `source` and write its clean form into the empty folder `into`.

    Args:
        modules: gives the base's modules; called only when everything else is right.
        base_name: written as `base_model_name_or_path`.
        rename: accept tensor names with a known wrong prefix.
        template: the base's chat template, which the adapter will be served with.

    Raises:
        ImportRefused: naming the file and the reason.
    """
    with tempfile.TemporaryDirectory(prefix=".import-", dir=into.parent) as staging:
        taken = take(source, Path(staging))
        config = parse_config((taken.folder / CONFIG).read_bytes())
        weights = taken.folder / WEIGHTS
        header = read_header(weights)
        check_dtypes(header)
        check_values(weights, header)
        base = modules()
        layout = match(header, config, base, rename=rename)
        targets = minimal_targets(layout.modules, base)
        if layout.renamed:
            _write_renamed(weights, header, layout, into / WEIGHTS)
        else:
            weights.rename(into / WEIGHTS)
        text = json.dumps(config.to_peft(base=base_name, target_modules=targets), indent=2)
        (into / CONFIG).write_text(text + "\n")
    notes = [*config.notes(), *layout.notes]
    if template is not None and taken.template not in (None, template):
        notes.append(
            "its own chat template differs from the base's, with which it will be served: answers "
            "may be worse than where it was trained"
        )
    return Checked(config, layout, tuple(targets), taken.ignored, tuple(notes))


def _write_renamed(source: Path, header: Header, layout: Layout, target: Path) -> None:
    """The same data under other names: only the header differs."""
    table = {
        layout.names[name]: {
            "dtype": info.dtype,
            "shape": list(info.shape),
            "data_offsets": [info.start - header.data_start, info.end - header.data_start],
        }
        for name, info in header.tensors.items()
    }
    raw = json.dumps({"__metadata__": {"format": "pt"}, **table}, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)  # the format aligns the data to 8 bytes
    with source.open("rb") as data, target.open("xb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        data.seek(header.data_start)
        while chunk := data.read(_CHUNK):
            file.write(chunk)
