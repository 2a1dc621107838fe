"""A Hub in memory, with the calls of `client.Hub`: what push, pull and repair decide, in process.

The real client against a Hub over a socket is in `test_push.py` and `test_import.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from adapterworks.manifests.errors import Conflict, IntegrityError, NotFound
from adapterworks.registry.remotes.hub.client import RepoState
from adapterworks.registry.remotes.hub.names import HubSource
from tests.hub_git import Blob, Repository

REPOSITORY = "org/medical-lora"


@dataclass
class MemoryHub:
    """Repositories by name, and what was done to them.

    Attributes:
        done: calls that write, by name.
        fetched: paths that were downloaded, with the limit that was given.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    endpoint: str = "https://hub.test"
    done: list[str] = field(default_factory=list)
    fetched: list[tuple[str, int]] = field(default_factory=list)

    def fill(
        self, files: Mapping[str, bytes], repository: str = REPOSITORY, *, private: bool = True
    ) -> RepoState:
        """Somebody commits these files and no others; the state after it."""
        found = self.repositories.setdefault(repository, Repository(repository, private))
        found.commit("by hand", {path: Blob(data, lfs=False) for path, data in files.items()})
        return self.state(HubSource(repository))

    def files(self, repository: str = REPOSITORY) -> dict[str, bytes]:
        """What is at the head."""
        return {path: blob.data for path, blob in self.repositories[repository].head.tree.items()}

    def state(self, source: HubSource) -> RepoState:
        repository = self.repositories.get(source.repository)
        commit = repository.find(source.revision) if repository else None
        if repository is None or commit is None:
            raise NotFound(f"no `{source}`")
        tree = repository.commits[commit].tree
        files = {path: len(blob.data) for path, blob in tree.items()}
        return RepoState(source.repository, commit, repository.private, files)

    def find(self, repository: str) -> RepoState | None:
        return self.state(HubSource(repository)) if repository in self.repositories else None

    def tag(self, repository: str, name: str) -> str | None:
        return self.repositories[repository].tags.get(name)

    def download(self, state: RepoState, path: str, into: Path, *, limit: int) -> Path:
        self.fetched.append((path, limit))
        data = self.repositories[state.repository].commits[state.commit].tree[path].data
        if len(data) > limit:
            raise IntegrityError(f"`{path}` is above {limit} bytes")
        file = into / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return file

    def create(self, repository: str, *, private: bool) -> None:
        self.done.append("create")
        self.repositories[repository] = Repository(repository, private)
        self.fill({".gitattributes": b"*.safetensors filter=lfs\n"}, repository)

    def commit(
        self,
        repository: str,
        *,
        add: Mapping[str, Path | bytes],
        delete: list[str],
        parent: str,
        message: str,
    ) -> str:
        self.done.append("commit")
        found = self.repositories[repository]
        if found.main != parent:
            raise Conflict("moved")
        tree = {path: blob for path, blob in found.head.tree.items() if path not in delete}
        for path, content in add.items():
            data = content if isinstance(content, bytes) else content.read_bytes()
            tree[path] = Blob(data, lfs=False)
        return found.commit(message, tree)

    def create_tag(self, repository: str, name: str, commit: str) -> None:
        self.done.append("tag")
        self.repositories[repository].tags[name] = commit
