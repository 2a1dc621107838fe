"""Keys for signatures, made the way the help says."""

from __future__ import annotations

import subprocess
from pathlib import Path


def make_key(folder: Path, name: str, *options: str) -> tuple[Path, Path]:
    """A private and a public key, made the way the help says."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    curve = options or ("ecparam", "-name", "prime256v1", "-genkey", "-noout")
    subprocess.run(["openssl", *curve, "-out", private], check=True, capture_output=True)
    subprocess.run(
        ["openssl", "pkey", "-in", private, "-pubout", "-out", public],
        check=True,
        capture_output=True,
    )
    return private, public
