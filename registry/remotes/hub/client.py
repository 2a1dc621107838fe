"""The few calls we make to the Hub, through `huggingface_hub`.

Endpoint, token and offline mode are the library's own (HF_ENDPOINT, HF_TOKEN or `hf auth login`,
HF_HUB_OFFLINE). Invariants: every call has a time limit; reads that fail for a moment are tried
again, writes are not; downloads go to the caller's folder and never through the shared cache, so a
private file that somebody cached is not served to somebody without a token (LoRAX #479).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from adapterworks.manifests.errors import IntegrityError, NotFound, Unavailable
from adapterworks.registry.bases.hub_errors import explained
from adapterworks.registry.remotes.hub.names import HubSource

T = TypeVar("T")
TIMEOUT_S = 30.0
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class RepoState:
    """A repository at one commit; `files` maps path → size in bytes."""

    repository: str
    commit: str
    private: bool
    files: Mapping[str, int]


class Hub:
    """The Hub as this process's environment names it."""

    def __init__(self) -> None:
        import httpx2
        from huggingface_hub import HfApi, get_session
        from huggingface_hub.utils import disable_progress_bars

        self._api = HfApi(library_name="adapterworks")
        get_session().timeout = httpx2.Timeout(TIMEOUT_S)  # the library's default is none
        if not sys.stderr.isatty():
            disable_progress_bars()

    @property
    def endpoint(self) -> str:
        """The Hub's address."""
        return str(self._api.endpoint)

    def state(self, source: HubSource) -> RepoState:
        """Resolve a revision to its commit and list the files there; always asks the Hub.

        Raises:
            NotFound: no such repository or revision, or no right to see it.
            Unavailable: the Hub cannot be asked.
        """

        def ask() -> Any:
            return self._api.model_info(
                source.repository, revision=source.revision, files_metadata=True, timeout=TIMEOUT_S
            )

        info = self._retried("read", source.repository, ask)
        files = {item.rfilename: int(item.size or 0) for item in info.siblings or ()}
        return RepoState(source.repository, str(info.sha), bool(info.private), files)

    def find(self, repository: str) -> RepoState | None:
        """The repository at its head; `None` if it is not there (or may not be seen)."""
        try:
            return self.state(HubSource(repository))
        except NotFound:
            return None

    def tag(self, repository: str, name: str) -> str | None:
        """The commit a tag names."""
        refs = self._retried("read", repository, lambda: self._api.list_repo_refs(repository))
        return next((str(t.target_commit) for t in refs.tags if t.name == name), None)

    def download(self, state: RepoState, path: str, into: Path, *, limit: int) -> Path:
        """Fetch one file of a commit into the folder `into`.

        Args:
            limit: bytes; a larger file is not fetched.

        Raises:
            IntegrityError: the file is larger than `limit`, or not of the size listed.
        """
        from huggingface_hub import hf_hub_download

        size = state.files[path]
        if size > limit:
            raise IntegrityError(
                f"`{path}` of `{state.repository}` has {size} bytes, {limit} are the limit"
            )

        def fetch() -> str:
            return str(
                hf_hub_download(
                    state.repository,
                    path,
                    revision=state.commit,
                    local_dir=into,
                    cache_dir=into / ".cache" / "hub",
                    force_download=True,
                )
            )

        file = Path(self._retried("read", state.repository, fetch))
        if file.stat().st_size != size:
            raise IntegrityError(
                f"`{path}` of `{state.repository}` came with {file.stat().st_size} bytes, "
                f"the listing says {size}"
            )
        return file

    def create(self, repository: str, *, private: bool) -> None:
        """Create a model repository; not an error if it is there already."""
        with explained("create", repository):
            self._api.create_repo(repository, private=private, exist_ok=True)

    def commit(
        self,
        repository: str,
        *,
        add: Mapping[str, Path | bytes],
        delete: list[str],
        parent: str,
        message: str,
    ) -> str:
        """One commit on `main` on top of `parent`; returns its id.

        Raises:
            Conflict: `main` is not at `parent` any more.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        operations = [
            *(
                CommitOperationAdd(path, content if isinstance(content, bytes) else str(content))
                for path, content in add.items()
            ),
            *(CommitOperationDelete(path) for path in delete),
        ]
        with explained("push to", repository):
            done = self._api.create_commit(
                repository, operations, commit_message=message, parent_commit=parent
            )
        return str(done.oid)

    def create_tag(self, repository: str, name: str, commit: str) -> None:
        """Tag a commit.

        Raises:
            Conflict: the tag exists.
        """
        with explained("tag", repository):
            self._api.create_tag(repository, tag=name, revision=commit)

    def _retried(self, action: str, repository: str, call: Callable[[], T]) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with explained(action, repository):
                    return call()
            except Unavailable as error:
                if attempt == ATTEMPTS or "HF_HUB_OFFLINE" in error.message:
                    raise
                time.sleep(min(error.retry_after or 0.25 * 2**attempt, 10.0))
        raise AssertionError("unreachable")
