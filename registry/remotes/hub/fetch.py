"""A commit of somebody's repository → a folder that `adapterworks.registry.imports` can check.

Invariant: only the config, the weights, the chat template and the card are fetched, and their sizes
are bounded by the listing before they are. The listing is refused for what a folder's is, and for
nothing else: what is not fetched cannot harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adapterworks.registry.imports.errors import ImportRefused
from adapterworks.registry.imports.folder import (
    CONFIG,
    LIMITS,
    LONGEST_TEMPLATE,
    TEMPLATE,
    TOKENIZER,
    WEIGHTS,
    check_listing,
)
from adapterworks.registry.imports.publish import Origin
from adapterworks.registry.remotes.hub.client import Hub, RepoState
from adapterworks.registry.remotes.hub.layout import CARD
from adapterworks.registry.remotes.hub.names import HubSource
from adapterworks.registry.remotes.room import require_room

_MAX_CARD = 1 << 20
# How often the weights lie on the disk: fetched, private, in `servable/`, and in the store.
_COPIES = 4


@dataclass(frozen=True, slots=True)
class Fetched:
    """The fetched folder and where it came from, by commit."""

    folder: Path
    origin: Origin
    commit: str


def fetch_adapter(hub: Hub, state: RepoState, into: Path) -> Fetched:
    """Fetch the adapter of `state` into the empty folder `into`.

    Raises:
        ImportRefused: the listing already says that it cannot be taken.
        Refused: there is no room for it.
    """
    names = sorted(path for path in state.files if "/" not in path)
    check_listing(sorted({path.partition("/")[0] for path in state.files}))
    folder = into / "adapter"
    folder.mkdir()
    for name in (CONFIG, WEIGHTS):
        if name not in names:
            raise ImportRefused(name, f"it is missing in `{state.repository}`")
        if state.files[name] > LIMITS[name]:
            raise ImportRefused(name, f"{state.files[name]} bytes, {LIMITS[name]} are the limit")
    require_room(_COPIES * state.files[WEIGHTS], into, state.repository)
    limits = dict(LIMITS)
    template = TEMPLATE if TEMPLATE in names else TOKENIZER
    if state.files.get(template, 0) <= LONGEST_TEMPLATE:  # a longer one is not compared
        limits[template] = LONGEST_TEMPLATE
    for name, limit in limits.items():
        if name in names:
            downloaded = hub.download(state, name, into / "download", limit=limit)
            downloaded.rename(folder / name)
    return Fetched(folder, _origin(hub, state, into), state.commit)


def _origin(hub: Hub, state: RepoState, into: Path) -> Origin:
    source = str(HubSource(state.repository, state.commit))
    license_id = "other"
    if 0 < state.files.get(CARD, 0) <= _MAX_CARD:
        card = hub.download(state, CARD, into / "download", limit=_MAX_CARD)
        license_id = _license(card.read_text(errors="replace"))
    return Origin(source=source, description=f"{state.repository} from the Hub", license=license_id)


def _license(card: str) -> str:
    """The licence the card's metadata states; `other` if it states none we can read."""
    if not card.startswith("---\n"):
        return "other"
    for line in card.split("\n---", 1)[0].splitlines():
        key, _, value = line.partition(":")
        value = value.strip().strip("\"'")
        if (
            key == "license"
            and value.replace("-", "").replace(".", "").isalnum()
            and len(value) < 40
        ):
            return value
    return "other"
