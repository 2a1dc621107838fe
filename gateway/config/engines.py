"""`[[engines]]`: started here, listed by their address, or found while the gateway runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from adapterworks.gateway.config.place import InFile, Place, parse_place
from adapterworks.gateway.config.table import PositiveFloat, PositiveInt, Table, check_http_url

# The ranks vLLM compiles for; any other is refused by the engine at start.
LoraRank = Literal[1, 8, 16, 32, 64, 128, 256, 320, 512]


class LocalEngine(Table):
    """`[[engines]]` without `url`: a vLLM process that the gateway starts and supervises.

    `kv_cache_gib` sizes the key-value cache on CPU; `gpu_memory_utilization` on a GPU. `options`
    are further engine arguments by their long names, without the dashes.
    """

    base: str = "smollm2-135m-instruct"
    quantization: Literal["none", "nf4"] = "none"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    max_model_len: PositiveInt = 2048
    max_num_seqs: PositiveInt = 64
    max_lora_rank: LoraRank = 32
    kv_cache_gib: PositiveInt = 1
    gpu_memory_utilization: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)


class ElsewhereTable(Table):
    """What is said of engines that run elsewhere.

    `checkouts` says how adapters come to them: from a folder that they share with the gateway, or
    fetched by their own hosts from the registry. `ca`, `cert`, `tls_key` are PEM files, relative to
    this file: who vouches for an engine's certificate, and what the gateway shows engines that ask
    for one; `tls_name` is the name that the certificate has, where it is not the address's.
    """

    quantization: Literal["none", "nf4"] = "none"
    max_num_seqs: PositiveInt = 64
    checkouts: Literal["shared", "fetched"] = "shared"
    api_key_env: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    ca: str | None = None
    cert: str | None = None
    tls_key: str | None = None
    tls_name: str | None = None

    @property
    def tls(self) -> bool:
        """Whether anything is said of it."""
        return (self.ca, self.cert, self.tls_key, self.tls_name) != (None,) * 4

    @model_validator(mode="after")
    def _key_has_a_certificate(self) -> Self:
        if self.tls_key is not None and self.cert is None:
            raise ValueError("`tls_key` is of a `cert`, which is not named")
        return self

    def below(self, folder: Path) -> Self:
        """The same, with paths relative to a folder."""
        paths = {name: getattr(self, name) for name in ("ca", "cert", "tls_key")}
        given = {name: str(folder / path) for name, path in paths.items() if path is not None}
        return self.model_copy(update=given) if given else self


class RemoteEngine(ElsewhereTable):
    """`[[engines]]` with `url`: a vLLM that runs elsewhere with our engine plugin.

    `base` names the base it serves, as for a local engine: requests are routed by its digest.
    """

    url: str
    base: str
    max_lora_rank: LoraRank = 32

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        return check_http_url(url)

    @model_validator(mode="after")
    def _tls_is_spoken(self) -> Self:
        if self.tls and not self.url.startswith("https://"):
            raise ValueError("`ca`, `cert`, `tls_key` and `tls_name` are of a `url` with https://")
        return self


class FoundEngines(ElsewhereTable):
    """`[[engines]]` with `discover`: engines that join and leave while the gateway runs.

    `discover` says who names them: `file:PATH` (TOML with `urls = […]`, relative to this file),
    `dns:NAME:PORT`, `dns:_SERVICE._tcp.NAME`, `k8s:[NAMESPACE/]SERVICE[:PORT]`; it is asked every
    `seconds`. Each says itself which base it serves; `base` names it for those that do not. Those
    that DNS or Kubernetes name are spoken to with TLS if anything is said of it here.
    """

    discover: str
    base: str | None = None
    seconds: PositiveFloat = 5.0

    @field_validator("discover")
    @classmethod
    def _is_a_place(cls, discover: str) -> str:
        parse_place(discover)
        return discover

    @property
    def place(self) -> Place:
        """Where they are found."""
        return parse_place(self.discover)

    def below(self, folder: Path) -> Self:
        """The same, with paths relative to a folder."""
        place, below = self.place, super().below(folder)
        if not isinstance(place, InFile):
            return below
        return below.model_copy(update={"discover": f"file:{folder / place.path}"})


def _engine_kind(value: Any) -> str:
    if isinstance(value, dict):
        return "found" if "discover" in value else "remote" if "url" in value else "local"
    if isinstance(value, FoundEngines):
        return "found"
    return "remote" if isinstance(value, RemoteEngine) else "local"


EngineTable = Annotated[
    Annotated[LocalEngine, Tag("local")]
    | Annotated[RemoteEngine, Tag("remote")]
    | Annotated[FoundEngines, Tag("found")],
    Discriminator(_engine_kind),
]
