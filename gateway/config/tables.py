"""What `gateway.toml` can say: frozen tables, unknown keys refused, every value with a default.

Loading, the environment and faults with lines are in `gateway/config/load.py`; the example with
every key explained is `docs/reference/gateway.example.toml`. Sizes are bytes, times are seconds,
tokens are the engine's own tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from adapterworks.gateway.config.engines import EngineTable, LocalEngine
from adapterworks.gateway.config.jobs import JobsTable
from adapterworks.gateway.config.oidc import OidcTable
from adapterworks.gateway.config.picker import PickerTable
from adapterworks.gateway.config.table import (
    PositiveFloat,
    PositiveInt,
    Share,
    Table,
    UrlPath,
    check_http_url,
)
from adapterworks.gateway.config.webhooks import WebhookTable
from adapterworks.gateway.storage.schema import KEPT_DAYS
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.hosts import is_loopback
from adapterworks.manifests.refs import parse_ref


class SupervisorTable(Table):
    """`[supervisor]`: how a local engine is started, watched and restarted."""

    start_timeout: PositiveFloat = 600.0
    health_interval: PositiveFloat = 1.0
    backoff_initial: PositiveFloat = 1.0
    backoff_max: PositiveFloat = 30.0


class ResidencyTable(Table):
    """`[residency]`: which adapters are loaded, and how long a request waits for a cold one.

    `max_loras` is what one batch can mix (the engine's slots), `max_cpu_loras` what host memory
    keeps ready. `pins` are refs that stay loaded, whatever release they are moved to (of more than
    there are places, those used last).
    """

    max_loras: PositiveInt = 4
    max_cpu_loras: PositiveInt = 16
    pins: tuple[str, ...] = ()
    cold_wait_seconds: PositiveFloat = 30.0

    @field_validator("pins")
    @classmethod
    def _pins_are_refs(cls, pins: tuple[str, ...]) -> tuple[str, ...]:
        for pin in pins:
            _check_ref(pin)
        return pins


class LimitsTable(Table):
    """`[limits]`: what a tenant gets that sets no limit of its own; absent means unlimited."""

    rpm: PositiveInt | None = None
    tpm: PositiveInt | None = None
    max_concurrency: PositiveInt | None = None
    monthly_tokens: PositiveInt | None = None

    def tenant_limits(self) -> Limits:
        """The defaults as the limiter takes them."""
        return Limits(self.rpm, self.tpm, self.max_concurrency, self.monthly_tokens)


class FairnessTable(Table):
    """`[fairness]`: token-based fair queueing in front of each engine.

    `slots` is how many requests one engine works on at once (default: its `max_num_seqs`).
    """

    on: bool = True
    slots: PositiveInt | None = None
    max_waiting: PositiveInt = 512
    max_wait_seconds: PositiveFloat = 60.0


class HttpTable(Table):
    """`[http]`: limits on what a client may send and on how long it may take.

    `cors_origins` are the pages whose scripts may call the gateway: `https://app.example`, or `*`.
    A stream that is silent for `keep_alive_seconds` gets a comment. `container` adds the paths of a
    platform's contract (gateway/config/container.py); `container_key_env` is the variable that
    holds the key whose tenant is meant there.
    """

    body_limit: PositiveInt = 4 * 1024 * 1024
    header_limit: PositiveInt = 32 * 1024
    max_connections: PositiveInt = 2048
    header_seconds: PositiveFloat = 10.0
    body_seconds: PositiveFloat = 30.0
    request_seconds: PositiveFloat = 600.0
    idle_seconds: PositiveFloat = 60.0
    linger_seconds: Annotated[float, Field(ge=0.0)] = 2.0
    drain_seconds: PositiveFloat = 30.0
    keep_alive_seconds: PositiveFloat = 15.0
    cors_origins: tuple[str, ...] = ()
    container: Literal["sagemaker", "vertex"] | None = None
    container_key_env: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    health_route: UrlPath | None = None
    predict_route: UrlPath | None = None

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            parts = urlsplit(origin)
            whole = f"{parts.scheme}://{parts.netloc}".lower()
            if origin != "*" and (parts.scheme not in ("http", "https") or origin != whole):
                raise ValueError(
                    f"has `{origin}`, and an origin is a scheme and a host, without a path: "
                    "`https://app.example`"
                )
        return origins


class TrustTable(Table):
    """`[trust]`: what must be true of a release before it answers.

    `proof`: `require` refuses a release that has no fingerprint, or whose fingerprint the engine
    does not reproduce; `warn` serves it and says so in the log and in `adapters ps`; `off` does not
    look. With `share_proofs`, what one engine has proved is proved for its kind (engine and plugin
    version, device, type, base), and others of it check one probe; without it each proves it all.
    `public_keys` are paths, relative to the file that names them.
    """

    proof: Literal["require", "warn", "off"] = "require"
    share_proofs: bool = True
    require_signature: bool = False
    public_keys: tuple[str, ...] = ()


class ShadowTable(Table):
    """`[[shadow]]`: a share of an adapter's requests also goes to `to`.

    That answer is seen by nobody, and kept only beside a request that its tenant lets be kept.
    """

    adapter: str
    to: str
    share: Share = 1.0

    @field_validator("to")
    @classmethod
    def _to_is_a_ref(cls, to: str) -> str:
        return _check_ref(to)


class MeteringTable(Table):
    """`[metering]`: where usage is kept until the index has it (default `ADAPTERS_HOME/metering`).

    Answers that end while the disk syncs share its next sync; `commit_milliseconds` waits for more
    of them, for disks that sync slowly. Events older than `keep_days` are removed from the index
    (the sums of their days stay); without it they stay for good.
    """

    spool: str | None = None
    commit_milliseconds: Annotated[float, Field(ge=0.0)] = 0.0
    keep_days: Annotated[int, Field(ge=KEPT_DAYS)] | None = None


class RegistryTable(Table):
    """`[registry]`: the registry over HTTP, `/v1/registry`; none of its paths unless `on`.

    Callers show a token of `adapters registry token create`, or of the issuer that `oidc` names.
    `anonymous` is what somebody without one may do; without it, nothing.
    """

    on: bool = False
    anonymous: Literal["reader"] | None = None
    oidc: OidcTable | None = None


class ConsoleTable(Table):
    """`[console]`: pages for people at `/console`; whoever has a key logs in with it.

    Unless `enabled` says so, they are there where only this machine can reach the gateway, and for
    a browser that asks for them by a loopback name. `session_hours` is how long a login lasts.
    """

    enabled: bool | None = None
    session_hours: Annotated[float, Field(gt=0.0, le=24.0 * 30)] = 12.0


class LogTable(Table):
    """`[log]`: `prompts = true` writes prompts and answers to the log; off unless you ask."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "text"] = "json"
    prompts: bool = False


class TracingTable(Table):
    """`[tracing]`: OpenTelemetry over OTLP/HTTP; off without an endpoint."""

    endpoint: str | None = None
    sample: Share = 1.0

    @field_validator("endpoint")
    @classmethod
    def _is_an_address(cls, endpoint: str | None) -> str | None:
        return None if endpoint is None else check_http_url(endpoint)


class GatewayConfig(Table):
    """The whole file. `open = true` lets anyone in, without a key, on loopback only;
    `default_adapter` answers a `/generate` that names none."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    open: bool = False
    default_adapter: str | None = None
    engines: tuple[EngineTable, ...] = (LocalEngine(),)
    supervisor: SupervisorTable = SupervisorTable()
    residency: ResidencyTable = ResidencyTable()
    limits: LimitsTable = LimitsTable()
    fairness: FairnessTable = FairnessTable()
    http: HttpTable = HttpTable()
    trust: TrustTable = TrustTable()
    shadow: tuple[ShadowTable, ...] = ()
    metering: MeteringTable = MeteringTable()
    jobs: JobsTable = JobsTable()
    registry: RegistryTable = RegistryTable()
    console: ConsoleTable = ConsoleTable()
    picker: PickerTable = PickerTable()
    webhooks: tuple[WebhookTable, ...] = ()
    log: LogTable = LogTable()
    tracing: TracingTable = TracingTable()

    @field_validator("default_adapter")
    @classmethod
    def _default_is_a_ref(cls, ref: str | None) -> str | None:
        return None if ref is None else _check_ref(ref)

    @property
    def has_console(self) -> bool:
        """Whether there are pages at `/console`."""
        enabled = self.console.enabled
        return is_loopback(self.host) if enabled is None else enabled

    @property
    def public_keys(self) -> tuple[Path, ...]:
        """The keys a release may be signed with."""
        return tuple(Path(path) for path in self.trust.public_keys)


def _check_ref(text: str) -> str:
    try:
        parse_ref(text)
    except InvalidInput as error:
        raise ValueError(error.message) from error
    return text
