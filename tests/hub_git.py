"""What git keeps of a Hub repository: blobs, commits named by hash, a branch and tags."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

ZERO = "0" * 40


@dataclass(frozen=True)
class Blob:
    """A file's bytes; `lfs` when git holds only a pointer to them."""

    data: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def oid(self) -> str:
        """The git object id of what git stores."""
        stored = self.data
        if self.lfs:
            stored = (
                f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\n"
                f"size {len(self.data)}\n"
            ).encode()
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid


@dataclass(frozen=True)
class Commit:
    """A tree, its parent and a message, named by their hash."""

    parent: str
    message: str
    tree: Mapping[str, Blob]

    @property
    def oid(self) -> str:
        entries = "".join(f"{path} {blob.oid}\n" for path, blob in sorted(self.tree.items()))
        return hashlib.sha1(f"{self.parent}\n{self.message}\n{entries}".encode()).hexdigest()


@dataclass
class Repository:
    """Commits by id, the branch `main`, and tags."""

    id: str
    private: bool
    commits: dict[str, Commit] = field(default_factory=dict)
    main: str = ZERO
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, message: str, tree: Mapping[str, Blob]) -> str:
        """Add a commit on top of `main`; returns its id."""
        made = Commit(self.main, message, dict(tree))
        self.commits[made.oid] = made
        self.main = made.oid
        return made.oid

    @property
    def head(self) -> Commit:
        return self.commits[self.main]

    def history(self) -> list[str]:
        """Commit ids of `main`, newest first."""
        ids, oid = [], self.main
        while oid != ZERO:
            ids.append(oid)
            oid = self.commits[oid].parent
        return ids

    def find(self, revision: str) -> str | None:
        """The commit that a branch, tag or commit id names."""
        if revision == "main":
            return self.main
        return self.tags.get(revision, revision if revision in self.commits else None)
