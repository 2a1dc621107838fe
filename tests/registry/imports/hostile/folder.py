"""Hostile folders: links, special files, code, names that deceive."""

from __future__ import annotations

import json
import os
import pickle
import socket
from pathlib import Path

from tests.registry.imports.hostile.cases import CONFIG, WEIGHTS, case


@case(WEIGHTS, "a symbolic link can point outside the folder")
def weights_link_to_a_secret(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to("/etc/passwd")


@case("notes.txt", "a symbolic link can point outside the folder")
def any_link(folder: Path) -> None:
    (folder / "notes.txt").symlink_to("../../outside")


@case("linked", "the folder is a symbolic link")
def folder_is_a_link(folder: Path) -> Path:
    link = folder.parent / "linked"
    link.symlink_to(folder)
    return link


@case(WEIGHTS, "a hard link: 2 names share its bytes")
def hard_link_out(folder: Path) -> None:
    os.link(folder / WEIGHTS, folder.parent / "the-other-name")


@case(CONFIG, "a pipe")
def config_is_a_pipe(folder: Path) -> None:
    (folder / CONFIG).unlink()
    os.mkfifo(folder / CONFIG)


@case("s", "a socket")
def socket_in_the_folder(folder: Path) -> None:
    # The path of a socket is limited to about 100 bytes: bind it relative to the folder.
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(folder)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("s")
    finally:
        os.fchdir(here)
        os.close(here)


@case(WEIGHTS, "a folder, not a file")
def weights_are_a_folder(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()


@case("adapter_model.bin", "a pickle can run code")
def pickled_weights_alone(folder: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {folder.parent}/owned",)

    (folder / WEIGHTS).unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Payload()))


@case("\\u0430dapter_config.json", "characters that can be mistaken")
def cyrillic_file_name(folder: Path) -> None:
    (folder / "\u0430dapter_config.json").write_text("{}")


@case("Adapter_Config.json", "where case does not count")
def second_config_in_capitals(folder: Path) -> None:
    (folder / "Adapter_Config.json").write_text("{}")


@case("adapter_model.safetensors.index.json", "names `../../../etc/shadow`, a path")
def weight_map_leaves_the_folder(folder: Path) -> None:
    index = {"weight_map": {"x": "../../../etc/shadow"}}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


@case("adapter_model.safetensors.index.json", "an adapter in several files")
def adapter_in_shards(folder: Path) -> None:
    index = {"weight_map": {"x": "model-00001-of-00002.safetensors"}}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


@case("the folder", "entries, 1000 are the limit")
def two_thousand_files(folder: Path) -> None:
    for number in range(2_000):
        (folder / f"{number}.txt").touch()


@case(CONFIG, "it is missing")
def no_config(folder: Path) -> None:
    (folder / CONFIG).unlink()


@case(WEIGHTS, "it is missing")
def no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
