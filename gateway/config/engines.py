"""`[[engines]]`: started here, listed by their address, or found while the gateway runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator

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


class RemoteEngine(Table):
    """`[[engines]]` with `url`: a vLLM that runs elsewhere with our engine plugin.

    `base` names the base it serves, as for a local engine: requests are routed by its digest.
    """

    url: str
    base: str
    quantization: Literal["none", "nf4"] = "none"
    max_num_seqs: PositiveInt = 64
    max_lora_rank: LoraRank = 32
    api_key_env: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")] | None = None

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        return check_http_url(url)


class FoundEngines(Table):
    """`[[engines]]` with `discover`: engines that join and leave while the gateway runs.

    `discover` says who names them: `file:PATH` (TOML with `urls = […]`, relative to this file),
    `dns:NAME:PORT`, `dns:_SERVICE._tcp.NAME`, `k8s:[NAMESPACE/]SERVICE[:PORT]`; it is asked every
    `seconds`. Each says itself which base it serves; `base` names it for those that do not.
    """

    discover: str
    base: str | None = None
    quantization: Literal["none", "nf4"] = "none"
    max_num_seqs: PositiveInt = 64
    api_key_env: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
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

    def below(self, folder: Path) -> FoundEngines:
        """The same, with a file's path relative to a folder."""
        place = self.place
        if not isinstance(place, InFile):
            return self
        return self.model_copy(update={"discover": f"file:{folder / place.path}"})


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
