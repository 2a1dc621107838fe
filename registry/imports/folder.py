"""Take the few files an adapter consists of out of an untrusted folder, into a private one.

Invariant: every check after this one runs on the copy, which nobody else can change. A file is
opened once, without following links and without blocking, and what was opened is what is checked
and copied; names inside the adapter never become paths.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.registry.imports import strictjson
from adapterworks.registry.imports.errors import ImportRefused, show
from adapterworks.registry.imports.foreign import refuse_foreign
from adapterworks.registry.imports.header import read_header_from

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
INDEX = "adapter_model.safetensors.index.json"
TEMPLATE = "chat_template.jinja"
TOKENIZER = "tokenizer_config.json"  # where trainers before transformers 4.52 wrote the template
LIMITS = {CONFIG: 1 << 20, WEIGHTS: 8 << 30, INDEX: 1 << 20}  # bytes
LONGEST_TEMPLATE = 1 << 20
_TOKENIZER_DEPTH = 8
MAX_ENTRIES = 1_000
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".dill")
_PROGRAMS = (".py", ".pyc", ".pyx", ".so", ".dll", ".dylib", ".sh", ".pyd", ".exe")
# What a trainer leaves beside an adapter: never opened, so it does no harm.
_LEFTOVERS = re.compile(
    r"training_args\.bin|optimizer\.(pt|bin)|(scheduler|scaler)\.pt|rng_state(_\d+)?\.pth"
)
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Taken:
    """What was copied, and the names of what was left where it was, unopened.

    Attributes:
        ignored: as they can be shown on a terminal.
        template: the text of its own chat template, if it has one that can be read.
    """

    folder: Path
    ignored: tuple[str, ...]
    template: str | None = None


def take(source: Path, into: Path) -> Taken:
    """Copy an adapter's config and weights from `source` into the empty folder `into`.

    Raises:
        NotFound: there is no such folder.
        InvalidInput: it is a file.
        ImportRefused: it holds something that an adapter has no use for.
    """
    try:
        folder = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError as error:
        raise NotFound(f"there is no folder `{source}`") from error
    except OSError as error:
        if source.is_symlink():
            raise ImportRefused(source.name, "the folder is a symbolic link") from error
        raise InvalidInput(
            f"`{source}` is not a folder that can be read: {error.strerror}",
            hint="name the folder that holds `adapter_config.json`",
        ) from error
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - of the folder that was opened
        check_listing(names)
        for name in names:
            _check_kind(name, os.stat(name, dir_fd=folder, follow_symlinks=False))
        if INDEX in names:
            _refuse_index(_read(folder, INDEX))
        for name in (CONFIG, WEIGHTS):
            if name not in names:
                raise ImportRefused(name, "it is missing", hint=_missing_hint(name, names))
            _copy(folder, name, into / name)
        told = next((name for name in (TEMPLATE, TOKENIZER) if name in names), None)
        template = None if told is None else _template(folder, told)
    finally:
        os.close(folder)
    ignored = tuple(show(name) for name in names if name not in LIMITS)
    return Taken(into, ignored, template)


def check_listing(names: list[str]) -> None:
    """Refuse a folder or repository whose listing hides what an adapter is.

    Other files are never opened, so what they are is nobody's harm.

    Raises:
        ImportRefused: too many entries, a name that passes for one we read, pickled weights alone.
    """
    _check_number(names)
    for name in names:
        _check_case(name)
        if not name.isascii() and "dapter_" in name:
            raise ImportRefused(name, "a file name with characters that can be mistaken for others")
    if WEIGHTS not in names:
        refuse_foreign(names)
        check_names(names)  # says which file is the weights, and why they are not taken


def _template(folder: int, name: str) -> str | None:
    """A chat template, for comparison with the base's; None if it is nothing that can be read."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        with os.fdopen(file, "rb") as source:
            if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                return None
            data = source.read(LONGEST_TEMPLATE + 1)
        if len(data) > LONGEST_TEMPLATE:
            return None
        if name == TEMPLATE:
            return data.decode()
        table = strictjson.parse(data, file=name, max_depth=_TOKENIZER_DEPTH)
        found = table.get("chat_template") if isinstance(table, dict) else None
        return found if isinstance(found, str) else None
    except (OSError, UnicodeDecodeError, ImportRefused):
        return None


def check_names(names: list[str]) -> None:
    """Refuse names that hide, collide, or promise code: of releases, every file of which is kept.

    Raises:
        ImportRefused: for the first such name.
    """
    _check_number(names)
    for name in names:
        if not name.isascii() or not name.isprintable():
            raise ImportRefused(name, "a file name with characters that can be mistaken for others")
        _check_case(name)
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in _PICKLES and not _LEFTOVERS.fullmatch(name):
            raise ImportRefused(
                name,
                "a pickle can run code when it is loaded; only safetensors is read",
                hint="save the adapter with `safe_serialization=True`, or give a folder with only "
                f"`{CONFIG}` and `{WEIGHTS}`",
            )
        if suffix in _PROGRAMS:
            raise ImportRefused(name, "an adapter does not come with code")


def _check_number(names: list[str]) -> None:
    if len(names) > MAX_ENTRIES:
        raise ImportRefused("the folder", f"{len(names)} entries, {MAX_ENTRIES} are the limit")


def _check_case(name: str) -> None:
    if name.lower() in LIMITS and name not in LIMITS:
        raise ImportRefused(name, f"it passes for `{name.lower()}` where case does not count")


def _check_kind(name: str, status: os.stat_result) -> None:
    mode = status.st_mode
    if stat.S_ISLNK(mode):
        raise ImportRefused(
            name,
            "a symbolic link can point outside the folder",
            hint="for a folder of the Hub's cache, use `adapters import hub:org/name@commit`",
        )
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ImportRefused(name, f"neither a file nor a folder but a {_kind(mode)}")
    if stat.S_ISDIR(mode) and name in LIMITS:
        raise ImportRefused(name, "a folder, not a file")
    if stat.S_ISREG(mode) and status.st_nlink > 1:
        raise ImportRefused(
            name,
            f"a hard link: {status.st_nlink} names share its bytes",
            hint="copy the folder with `cp -r --no-preserve=links`",
        )


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFIFO: "pipe",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "device",
        stat.S_IFBLK: "device",
    }
    return kinds.get(stat.S_IFMT(mode), "special file")


def _open(folder: int, name: str) -> int:
    """Open what is there now; the listing may be old."""
    try:
        file = os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder
        )
    except OSError as error:
        raise ImportRefused(name, f"it cannot be opened: {error.strerror}") from error
    status = os.fstat(file)
    try:
        _check_kind(name, status)
        if not stat.S_ISREG(status.st_mode):
            raise ImportRefused(name, "not a file")
        if status.st_size > LIMITS[name]:
            raise ImportRefused(name, f"{status.st_size} bytes, {LIMITS[name]} are the limit")
    except BaseException:
        os.close(file)
        raise
    return file


def _copy(folder: int, name: str, target: Path) -> None:
    limit = LIMITS[name]
    with os.fdopen(_open(folder, name), "rb") as source, target.open("xb") as copy:
        if name == WEIGHTS:  # before gigabytes of a file that cannot be right are copied
            read_header_from(source, file=name)
            source.seek(0)
        written = 0
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > limit:
                raise ImportRefused(name, f"it grew past {limit} bytes while it was read")
            copy.write(chunk)


def _read(folder: int, name: str) -> bytes:
    with os.fdopen(_open(folder, name), "rb") as source:
        return source.read(LIMITS[name] + 1)


def _refuse_index(data: bytes) -> None:
    """An index is always refused; one that reaches out of the folder is called what it is."""
    index = strictjson.parse(data, file=INDEX, max_depth=4)
    shards = index.get("weight_map") if isinstance(index, dict) else None
    for shard in shards.values() if isinstance(shards, dict) else ():
        if not isinstance(shard, str) or PurePosixPath(shard).name != shard or shard in {".", ".."}:
            raise ImportRefused(INDEX, f"its weight map names `{show(str(shard))}`, a path")
    raise ImportRefused(
        INDEX,
        "an adapter in several files",
        hint=f"save it as one `{WEIGHTS}` (PEFT's `save_pretrained` does)",
    )


def _missing_hint(name: str, names: list[str]) -> str:
    within = [other for other in names if re.fullmatch(r"checkpoint-\d{1,9}", other)]
    if within:  # of a training that was stopped, or whose program keeps nothing above them
        newest = max(within, key=lambda other: int(other.rpartition("-")[2]))
        return f"name one of its checkpoints: `{newest}` is the last"
    if name == CONFIG:
        return "name the folder that PEFT's `save_pretrained` wrote"
    return "save the adapter with PEFT's `save_pretrained(…, safe_serialization=True)`"
