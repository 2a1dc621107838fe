"""gateway.toml: every fault at once, with its line; the environment; what may not be combined."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from adapterworks.gateway.config.engines import LocalEngine, RemoteEngine
from adapterworks.gateway.config.load import OF_CLIENTS, PREFIX, load_gateway_config
from adapterworks.gateway.config.tables import GatewayConfig
from adapterworks.manifests.errors import NotFound
from adapterworks.manifests.faults import ManifestError
from adapterworks.serving import opened
from adapterworks.settings import KEYS

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "docs" / "reference" / "gateway.example.toml"


def write(folder: Path, text: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(text)
    return path


def faults(
    path: Path | None, environ: dict[str, str] | None = None
) -> list[tuple[int | None, str]]:
    with pytest.raises(ManifestError) as caught:
        load_gateway_config(path, environ)
    return [(fault.line, fault.key) for fault in caught.value.faults]


def test_the_example_is_the_defaults_and_names_every_key(tmp_path: Path) -> None:
    assert load_gateway_config(EXAMPLE) == load_gateway_config(None) == GatewayConfig()
    # With the comment signs before keys removed it is still valid: what it explains is what exists.
    text = re.sub(r"^# (?=\[|\w+ = )", "", EXAMPLE.read_text(), flags=re.MULTILINE)
    config = load_gateway_config(write(tmp_path, text))
    explained = set(re.findall(r"^(\w+) = ", text, flags=re.MULTILINE))

    def keys(model: object) -> set[str]:
        names: set[str] = set()
        for name, value in model:  # type: ignore[attr-defined]
            tables = value if isinstance(value, tuple) else (value,)
            inner = [table for table in tables if isinstance(table, BaseModel)]
            names |= set().union(*(keys(table) for table in inner)) if inner else {name}
        return names

    assert keys(config) == explained
    assert isinstance(config.engines[0], LocalEngine)
    assert isinstance(config.engines[1], RemoteEngine)


def test_every_fault_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """\
prot = 1
port = "x"
[[engines]]
bse = "x"
max_lora_rank = 12
[[engines]]
url = "ftp://x"
[residency]
max_loras = -1
pins = ["medical",
        "A@"]
[[shadow]]
adapter = "a"
to = ":"
shar = 3
""",
    )
    found = faults(path, {"ADAPTERS_GATEWAY_LIMITS__RPN": "3", "ADAPTERS_GATEWAY_OPEN": "maybe"})
    assert found == [
        (None, "limits.rpn"),
        (None, "open"),
        (1, "prot"),
        (2, "port"),
        (4, "engines[0].bse"),
        (5, "engines[0].max_lora_rank"),
        (6, "engines[1].base"),
        (7, "engines[1].url"),
        (9, "residency.max_loras"),
        (10, "residency.pins"),
        (14, "shadow[0].to"),
        (15, "shadow[0].shar"),
    ]


def test_an_unknown_key_gets_the_nearest_as_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        load_gateway_config(write(tmp_path, "[residency]\nmax_lora = 3\n"))
    assert caught.value.faults[0].hint == "did you mean `max_loras`?"
    assert "gateway.toml:2: residency.max_lora: unknown key" in str(caught.value)
    with pytest.raises(ManifestError, match="is required and missing"):
        load_gateway_config(write(tmp_path, '[[engines]]\nurl = "http://a"\n'))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('host = "0.0.0.0"\nopen = true\n', (2, "open")),
        ("[trust]\nrequire_signature = true\n", (2, "trust.require_signature")),
        ("[residency]\nmax_loras = 32\n", (1, "residency.max_cpu_loras")),
        ('[residency]\nmax_loras = 1\nmax_cpu_loras = 1\npins = ["a"]\n', (4, "residency.pins")),
        ("engines = []\n", (1, "engines")),
        (
            '[[engines]]\nurl = "http://a"\nbase = "x"\n[[engines]]\nurl = "http://b"\nbase = "x"\n'
            '[[engines]]\nurl = "http://b"\nbase = "x"\n',
            (5, "engines[1].url"),
        ),
    ],
)
def test_impossible_combinations_are_faults(
    tmp_path: Path, text: str, place: tuple[int, str]
) -> None:
    assert faults(write(tmp_path, text))[0] == place


def _said(*options: tuple[tuple[str, ...], str, object]) -> dict[Any, tuple[str, object]]:
    return {path: (option, value) for path, option, value in options}


def test_what_the_command_line_says_is_looked_at_with_the_rest(tmp_path: Path) -> None:
    """Each alone is allowed: an open gateway on loopback, and one with keys on any address."""
    anywhere = (("host",), "--host", "0.0.0.0")
    file = write(tmp_path, "port = 1\nopen = true\n")
    for path, environ, place in (
        (file, {}, f"{file}:2: open: "),
        (None, {"ADAPTERS_GATEWAY_OPEN": "true"}, r"invalid `\$ADAPTERS_GATEWAY_OPEN`: open: "),
    ):
        with pytest.raises(ManifestError, match=f"{place}.*who reaches `0.0.0.0` in without a key"):
            load_gateway_config(path, environ, _said(anywhere))
    with pytest.raises(ManifestError, match="invalid `--open`: open: "):
        load_gateway_config(None, {}, _said(anywhere, (("open",), "--open", True)))
    # What it says counts instead of the rest, so a fault that it mends is none.
    path = write(tmp_path, 'host = "0.0.0.0"\n[[engines]]\nurl = "http://c"\nbase = "x"\n')
    both = [{"url": url, "base": "x"} for url in ("http://a", "http://a/")]
    local = (("host",), "--host", "127.0.0.1")
    config = load_gateway_config(
        path,
        {"ADAPTERS_GATEWAY_OPEN": "true"},
        _said(local, (("engines",), "--engine", both[:1])),
    )
    assert (config.open, config.host) == (True, "127.0.0.1")
    assert config.engines == (RemoteEngine(url="http://a", base="x"),)
    assert "engines" in config.model_fields_set
    with pytest.raises(ManifestError, match=r"--engine: engines\[1\].url: `http://a/` is listed"):
        load_gateway_config(path, {}, _said((("engines",), "--engine", both)))
    with pytest.raises(
        ManifestError, match=r"residency.max_cpu_loras: is below `max_loras` \(99\)"
    ):
        load_gateway_config(None, {}, _said((("residency", "max_loras"), "--max-loras", 99)))


def test_what_a_program_puts_together_is_looked_at_too() -> None:
    assert opened(GatewayConfig(), True).open
    for config, wanted in (
        (GatewayConfig(host="0.0.0.0"), True),
        (GatewayConfig(host="0.0.0.0", open=True), False),
    ):
        with pytest.raises(ManifestError, match=r"who reaches `0\.0\.0\.0` in without a key"):
            opened(config, wanted)


def test_what_clients_are_told_is_no_key_of_a_gateway() -> None:
    """`ADAPTERS_GATEWAY_KEY` is the key that commands show; its name begins as a gateway's keys."""
    assert {
        name for name in (f"ADAPTERS_{key.upper()}" for key in KEYS) if name.startswith(PREFIX)
    } == OF_CLIENTS
    told = dict.fromkeys(OF_CLIENTS, "sk-something")
    assert load_gateway_config(None, told) == GatewayConfig()


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "port = 1\n[limits]\nrpm = 5\n")
    config = load_gateway_config(
        path,
        {
            "ADAPTERS_GATEWAY_PORT": "9000",
            "ADAPTERS_GATEWAY_HOST": "localhost",
            "ADAPTERS_GATEWAY_LIMITS__TPM": "100",
            "ADAPTERS_GATEWAY_RESIDENCY__PINS": '["medical:prod"]',
            "ADAPTERS_GATEWAY_ENGINES": '[{url = "http://gpu-1:8000", base = "llama"}]',
            "ADAPTERS_HOME": "/elsewhere",
        },
    )
    assert (config.port, config.host) == (9000, "localhost")
    assert (config.limits.rpm, config.limits.tpm) == (5, 100)
    assert config.residency.pins == ("medical:prod",)
    assert config.engines == (RemoteEngine(url="http://gpu-1:8000", base="llama"),)
    assert config.limits.tenant_limits().tpm == 100


def test_a_variable_that_fits_nowhere_is_a_fault() -> None:
    assert faults(None, {"ADAPTERS_GATEWAY_PORT__X": "1"})[0][1] == "port"
    assert faults(None, {"ADAPTERS_GATEWAY_": "1"})[0] == (None, "")


def test_public_keys_are_relative_to_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, '[trust]\nrequire_signature = true\npublic_keys = ["a.pub", "/b.pub"]\n')
    assert load_gateway_config(path).public_keys == (tmp_path / "a.pub", Path("/b.pub"))


def test_what_is_not_toml_says_where(tmp_path: Path) -> None:
    assert faults(write(tmp_path, "port = 1\nhost = \n")) == [(2, "")]
    (tmp_path / "latin.toml").write_bytes(b"host = '\xff'")
    assert faults(tmp_path / "latin.toml") == [(None, "")]
    with pytest.raises(NotFound):
        load_gateway_config(tmp_path / "none.toml")
    assert faults(tmp_path) == [(None, "")]  # a folder: it is there, and cannot be read
    assert faults(write(tmp_path, f"x = {'[' * 50_000}")) == [(None, "")]
