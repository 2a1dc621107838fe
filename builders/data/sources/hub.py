"""A data set of the Hugging Face Hub, at its commit or not at all.

`datasets.load_dataset("org/name", revision=…)` reads a folder of that name in the working
directory, and any cached revision when the Hub is out of reach. So the files of the commit are
fetched first, and read from the folder that has the commit's name.

Invariant: what is read is the whole of the commit that the revision means; offline, only a commit
whose files were all fetched here before.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adapterworks.builders.data.sources.record import Record, Records
from adapterworks.manifests.atomic import write_atomic
from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import InvalidInput, Unavailable
from adapterworks.manifests.sources import HubSource

# What is not data: fetched neither to be read nor to be run.
_NOT_DATA = ("*.py", "*.ipynb", "*.bin", "*.pt", "*.safetensors", "*.gguf")


def read_hub(source: HubSource, *, cache: Path | None = None) -> Records:
    """The records of one split (`train` if none is named) of a data set at its revision.

    Args:
        source: a configuration may be named; else it is the only or the default one.
        cache: where it is noted which files a fetched commit has; without, the Hub is asked.

    Raises:
        InvalidInput: the data set has no such split or configuration, or cannot be read.
        Unavailable: the Hub cannot be reached and this commit was not fetched here.
    """
    import datasets

    commit, folder = _fetched(source, cache)
    try:
        data = datasets.load_dataset(str(folder), source.config, split=source.split or "train")
    except (ValueError, FileNotFoundError, datasets.exceptions.DatasetGenerationError) as error:
        raise InvalidInput(
            f"`{source}` cannot be read: {_without_path(error, folder, source)}",
            hint="name configuration and split: `hub:org/name@revision#configuration:split`",
        ) from error
    records = tuple(Record(number, dict(columns)) for number, columns in enumerate(data, 1))
    content = "\n".join(
        json.dumps(r.columns, sort_keys=True, ensure_ascii=False, default=str) for r in records
    )
    pinned = HubSource(source.repo, commit, source.split, source.config)
    return Records(
        records, str(pinned), _license(folder), {str(source): digest_bytes(content.encode())}
    )


def _fetched(source: HubSource, cache: Path | None) -> tuple[str, Path]:
    """The revision's commit, and the folder with its files."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        known = _noted(source, cache)
        if known is not None:
            return source.revision, known
        info = HfApi().dataset_info(source.repo, revision=source.revision)
        commit = str(info.sha)
        if source.pinned and commit != source.revision:
            raise Unavailable(f"the Hub gave commit {commit} for `{source}`", hint="try again")
        folder = Path(
            snapshot_download(
                source.repo, repo_type="dataset", revision=commit, ignore_patterns=[*_NOT_DATA]
            )
        )
    except (ConnectionError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        if isinstance(error, LocalEntryNotFoundError):
            error = ConnectionError(f"commit {source.revision} is not here")
        raise Unavailable(
            f"data set `{source.repo}` cannot be fetched at `{source.revision}`: {error}",
            hint="check the network, `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE`",
        ) from error
    if folder.name != commit:
        raise Unavailable(f"`{source}`: commit {folder.name} was fetched instead of {commit}")
    _note(source.repo, commit, folder, cache)
    return commit, folder


def _noted(source: HubSource, cache: Path | None) -> Path | None:
    """The folder of a commit that was fetched whole; None if it was not, or is not whole now."""
    if cache is None or not source.pinned:
        return None
    try:
        note: dict[str, Any] = json.loads(
            _note_path(cache, source.repo, source.revision).read_text()
        )
    except (OSError, ValueError):
        return None
    folder = Path(note["folder"])
    whole = all(
        (folder / name).is_file() and (folder / name).stat().st_size == size
        for name, size in note["files"].items()
    )
    return folder if whole else None


def _note(repo: str, commit: str, folder: Path, cache: Path | None) -> None:
    if cache is None:
        return
    files = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    path = _note_path(cache, repo, commit)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps({"folder": str(folder), "files": files}))


def _note_path(cache: Path, repo: str, commit: str) -> Path:
    return cache / "hub" / f"{repo.replace('/', '--')}-{commit}.json"


def _license(folder: Path) -> str:
    from huggingface_hub import DatasetCard

    card = folder / "README.md"
    try:
        given = DatasetCard.load(card).data.to_dict().get("license") if card.is_file() else None
    except ValueError:  # a card whose head is no YAML
        given = None
    return ", ".join(given) if isinstance(given, list) else str(given or "unknown")


def _without_path(error: Exception, folder: Path, source: HubSource) -> str:
    return str(error).replace(str(folder), source.repo)
