"""The pages of docs/reference that are made from the code: `python -m docs.make.reference`.

environment.md from the settings' and the gateway's models, exit-codes.md from the one map of
errors, metrics.md from the registry that `/metrics` renders, http-api.md from `/openapi.json`. A
test holds each page equal to what this makes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from adapterworks import crash, settings
from adapterworks.cli.main import cli
from adapterworks.errors import EXIT_CODES
from adapterworks.gateway.config.container import contract_of
from adapterworks.gateway.config.tables import GatewayConfig, HttpTable
from adapterworks.gateway.http.routes.bodies import JOBS
from adapterworks.gateway.http.routes.openapi import document
from adapterworks.gateway.observe.metrics import Metrics
from adapterworks.manifests.errors import AdapterworksError
from adapterworks.workers.executors.executor import GIVEN_BACK

FOLDER = Path(__file__).resolve().parents[1] / "reference"
MADE = "Made by `python -m docs.make.reference`.\n"
PREFIX = "ADAPTERS_GATEWAY_"
# Read by one command each, or by a library on our behalf; `environ` in the code names no others.
OTHERS = {
    "ADAPTERS_CONFIG": "the file of settings (default ~/.config/adapterworks/config.toml)",
    "ADAPTERS_URL": "the gateway that {commands} asks; `adapters ps` reads the private sockets in "
    "`ADAPTERS_HOME`, so it needs that of the gateway",
    "ADAPTERS_KEY": "the tenant's key that `adapters chat` sends",
    "NO_COLOR": "no colours, whatever the terminal can",
    "FORCE_COLOR": "colours, although standard output is no terminal",
    "HF_TOKEN": "the Hub's token, else the one of `hf auth login`",
    "KUBECONFIG": "where `build --on k8s:NAMESPACE` finds its cluster, as `kubectl` does",
    "HF_ENDPOINT": "another Hub",
    "HF_HOME": "the cache of the Hub's client",
    "HF_HUB_OFFLINE": "`1`: the Hub is not asked",
    "DOCKER_CONFIG": "where `docker login` leaves its config.json, for `oci://…` (~/.docker)",
    "AWS_ACCESS_KEY_ID": "with `AWS_SECRET_ACCESS_KEY`, for `s3://…`; else roles, ~/.aws",
    "AWS_PROFILE": "the profile of ~/.aws",
    "AWS_REGION": "the bucket's region (`AWS_DEFAULT_REGION` too)",
    "AWS_ENDPOINT_URL": "another S3 server than Amazon's",
    "VLLM_API_KEY": "vLLM's: what gateways show an engine; without it, it fetches no adapters",
    "AIP_HTTP_PORT": "Vertex AI's: the gateway's port; with one of the three, `[http] container` is"
    " `vertex`",
    "AIP_HEALTH_ROUTE": "Vertex AI's: where the gateway says whether it is ready",
    "AIP_PREDICT_ROUTE": "Vertex AI's: where it is asked",
    "OMP_NUM_THREADS": "threads of a training or an engine on a CPU",
    "TMPDIR": "where many rows and their tokens are kept while a build prepares (/var/tmp)",
    "CUDA_VISIBLE_DEVICES": "the GPUs that may be used",
}


def pages() -> dict[str, str]:
    """File name → text."""
    return {
        "environment.md": environment(),
        "exit-codes.md": exit_codes(),
        "metrics.md": metrics(),
        "http-api.md": http_api(),
    }


def environment() -> str:
    """Every variable that is read, and the gateway's keys as variables."""
    said = (settings.__doc__ or "").strip().partition("\n\n")[2]
    lines = ["# Environment variables", "", MADE, "## Of every command", "", "```text"]
    lines += [*said.splitlines(), "```", "", "`adapters config` shows what holds and why.", ""]
    lines += ["## Of some commands, and of libraries", "", "| variable | what |", "|---|---|"]
    lines += [
        f"| `{name}` | {what.replace('{commands}', commands_with(name))} |"
        for name, what in OTHERS.items()
    ]
    lines += [
        "",
        "## Of the gateway",
        "",
        "Every key of [gateway.toml](gateway.example.toml), where each is explained, has a "
        "variable that comes before the file; two underscores stand between the parts of a path. "
        "The value is TOML, or else text.",
        "",
        "| variable | default |",
        "|---|---|",
        *(f"| `{name}` | `{default}` |" for name, default in _keys(GatewayConfig())),
    ]
    return "\n".join(lines) + "\n"


def commands_with(variable: str) -> str:
    """The commands that take a variable in place of an option, as the command tree has them."""
    found: list[str] = []

    def look(command: click.Command, context: click.Context) -> None:
        if any(getattr(one, "envvar", None) == variable for one in command.params):
            found.append(f"`{context.command_path}`")
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                look(child, click.Context(child, info_name=name, parent=context))

    look(cli, click.Context(cli, info_name="adapters"))
    return ", ".join(found)


def _keys(table: BaseModel, before: str = PREFIX) -> Iterator[tuple[str, str]]:
    """(variable, its default as TOML) of a table's keys; arrays of tables have none."""
    for name in type(table).model_fields:
        value = getattr(table, name)
        if isinstance(value, BaseModel):
            yield from _keys(value, f"{before}{name.upper()}__")
        elif name not in ("engines", "shadow"):
            shown = json.dumps(value, default=list) if value is not None else "not set"
            yield f"{before}{name.upper()}", shown


def exit_codes() -> str:
    """What a script can tell by."""
    lines = ["# Exit codes", "", MADE, "| code | means |", "|---|---|", "| 0 | done |"]
    for kind, code in sorted(EXIT_CODES.items(), key=lambda item: item[1]):
        meaning = (kind.__doc__ or "").strip().partition("\n")[0].rstrip(".")
        if kind is AdapterworksError:
            meaning = "A gate, a check or one of several failed, or something else did"
        lines.append(f"| {code} | {meaning} |")
    lines += [
        f"| {crash.EXIT_CODE} | A fault of adapterworks itself; a report is in a file |",
        f"| {GIVEN_BACK} | `adapters worker --lane` was asked to end before its job was done: "
        "begin it again |",
        "| 130 | Interrupted (Ctrl-C) |",
        "",
        "An error is one line on standard error, `error: …`, and where something helps a second, "
        "`hint: …`. Results are on standard output, progress and notes on standard error.",
    ]
    return "\n".join(lines) + "\n"


def metrics() -> str:
    """Every series that `/metrics` has of ours."""
    lines = [
        "# Metrics",
        "",
        MADE,
        "`GET /metrics` of a gateway, in Prometheus' text format. "
        "[grafana-dashboard.json](grafana-dashboard.json) shows them. Unless the gateway is open "
        "it needs the key of a tenant that is allowed `*`, since tenants and adapters are named; "
        "to everyone else it answers 404 ([how to scrape it](../how-to/production.md#monitoring)).",
        "",
        "| metric | type | labels | what |",
        "|---|---|---|---|",
    ]
    registry = Metrics().registry
    for collector in registry._collector_to_names:
        labels = getattr(collector, "_labelnames", None)
        if labels is None:  # the process' own, of prometheus-client
            continue
        (family,) = collector.describe()  # type: ignore[attr-defined]
        suffix = "_total" if family.type == "counter" else ""
        shown = ", ".join(f"`{label}`" for label in labels)
        row = (f"`{family.name}{suffix}`", family.type, shown, family.documentation)
        lines.append(f"| {' | '.join(row)} |")
    lines += [
        "",
        "Under vLLM's names, so that what schedules and scales a vLLM (Gateway API's inference "
        "extension, llm-d, AIBrix, KEDA) can read a gateway as one server of each base: "
        "`vllm:num_requests_running`, `vllm:num_requests_waiting` (label `model_name`) and "
        "`vllm:lora_requests_info` (also `max_lora`, `running_lora_adapters`: loaded, and "
        "`waiting_lora_adapters`: being loaded). `vllm:kv_cache_usage_perc` is each engine's own.",
    ]
    lines += ["", "`process_…` and `python_…` are those of every Python program."]
    return "\n".join(lines) + "\n"


def http_api() -> str:
    """Path by path: the fields that the gateway itself reads."""
    described = document(jobs=True, registry=True)
    contracts = {
        name: contract_of(HttpTable.model_validate({"container": name}))
        for name in ("sagemaker", "vertex")
    }
    lines = [
        "# The HTTP API, path by path",
        "",
        MADE,
        "What a running gateway says of itself at `/openapi.json`. A body has more fields than "
        "these: the rest is the engine's, as OpenAI and Anthropic describe it, and "
        "[HTTP](http.md) says what is refused and left out.",
        "",
    ]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            lines += [f"## `{method.upper()} {path}`", ""]
            if path in JOBS:
                lines += ["With `[jobs] on = true`.", ""]
            if path.startswith("/v1/registry"):
                turned_on = "With `[registry] on = true`, or `adapters registry serve`."
                lines += [f"{turned_on} {operation['description']}", ""]
            lines += _fields(operation)
    for name, contract in contracts.items():
        assert contract is not None
        posted = document(contract=contract)["paths"][contract.predict]["post"]
        lines += [f"## `POST {contract.predict}`", ""]
        lines += [f'With `[http] container = "{name}"`; `GET {contract.health}` is its health.', ""]
        lines += _fields(posted)
    lines += ["## Statuses", "", "| status | means |", "|---|---|"]
    answers = described["paths"]["/health"]["get"]["responses"]
    lines += [f"| {status} | {answer['description']} |" for status, answer in answers.items()]
    return "\n".join(lines) + "\n"


def _fields(operation: dict[str, Any]) -> Iterator[str]:
    content = operation.get("requestBody", {}).get("content", {})
    for kind, body in content.items():
        schema = body["schema"]
        if not schema["properties"]:
            continue
        yield from (f"Body: `{kind}`.", "", "| field | type | |", "|---|---|---|")
        for name, field in schema["properties"].items():
            needed = "required" if name in schema.get("required", ()) else ""
            yield f"| `{name}` | {_type(field)} | {needed} |"
        yield ""


def _type(schema: dict[str, Any]) -> str:
    if not schema:
        return "any value"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " · ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("format") == "binary":
        return "file"
    if schema["type"] == "array":
        return f"array of {_type(schema['items'])}"
    low, high = schema.get("minimum"), schema.get("maximum")
    bounds = f", {low} to {high}" if high is not None else f", at least {low}" if low else ""
    longest = f", at most {schema['maxLength']} characters" if "maxLength" in schema else ""
    return f"{schema['type']}{bounds}{longest}"


def main() -> None:
    """Write every page that is not as it should be."""
    for name, text in pages().items():
        page = FOLDER / name
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")
            print(f"docs: wrote {page.relative_to(FOLDER.parents[1])}")


if __name__ == "__main__":
    main()
