"""Configurations of other programs as manifests: every key is mapped, refused or without effect."""

from __future__ import annotations

from collections.abc import Callable

from adapterworks.manifests.importing.axolotl import convert as axolotl
from adapterworks.manifests.importing.conversion import Conversion
from adapterworks.manifests.importing.llama_factory import convert as llama_factory
from adapterworks.manifests.importing.trl import convert as trl

# program → what reads its configuration: (keys, the folder it stands in, a name) → manifest; TRL's
# asks for the trainer as well.
PROGRAMS: dict[str, Callable[..., Conversion]] = {
    "llama-factory": llama_factory,
    "axolotl": axolotl,
    "trl": trl,
}
