"""compose.yaml: of the compose specification's schema, and of nothing that is not there."""

from __future__ import annotations

import re
from typing import Any

import pytest
from compose_pydantic import ComposeSpecification

from adapterworks.gateway.config.engines import FoundEngines
from adapterworks.gateway.config.load import load_gateway_config
from adapterworks.gateway.config.place import InDns
from tests.deploy.reading import DEPLOY, documents, option, unknown_options, variables
from tests.docs.test_commands import check

(COMPOSE,) = documents("compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("gateway", "engine", "worker")


def test_it_is_of_the_specification() -> None:
    values = {key: value for key, value in COMPOSE.items() if not key.startswith("x-")}
    parsed = ComposeSpecification.model_validate(values)
    assert parsed.services is not None
    assert set(parsed.services) == {*OURS, "database", "store", "bucket"}
    with pytest.raises(ValueError, match="read_onyl"):
        ComposeSpecification.model_validate({"services": {"a": {"read_onyl": True}}})


def test_what_it_refers_to_is_there() -> None:
    for name, service in SERVICES.items():
        for other in service.get("depends_on", ()):
            assert other in SERVICES, name
        for mount in service.get("volumes", ()):
            source = mount.partition(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).is_file()
            else:
                assert source in COMPOSE["volumes"]
        if build := service.get("build"):
            assert ((DEPLOY / build["context"]) / build["dockerfile"]).is_file()


def test_every_variable_is_read_and_every_secret_asked_for() -> None:
    known = variables()
    for name in OURS:
        assert [v for v in SERVICES[name].get("environment", {}) if v not in known] == []
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    asked = set(re.findall(r"\$\{(\w+):\?\}", text))
    assert set(re.findall(r"\$\{(\w+)", text)) == asked
    example = (DEPLOY / "environment.example").read_text(encoding="utf-8")
    assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == asked
    ignored = (DEPLOY.parent / ".gitignore").read_text(encoding="utf-8")
    assert "/deploy/.env\n" in ignored


def test_what_they_are_started_with_is_taken() -> None:
    worker = SERVICES["worker"]
    assert worker["entrypoint"] == ["adapters"]
    check(list(worker["command"]))
    assert unknown_options(SERVICES["engine"]["command"]) == []
    assert unknown_options(["--max-lroas=4"]) == ["--max-lroas"]


def test_the_gateway_finds_the_engine_and_they_agree() -> None:
    config = load_gateway_config(DEPLOY / "gateway.toml", {})
    (table,) = config.engines
    assert isinstance(table, FoundEngines)
    assert isinstance(table.place, InDns)
    assert table.place.name in SERVICES
    assert f"EXPOSE {table.place.port}\n" in (DEPLOY / "Containerfile.engine").read_text()
    assert table.api_key_env in SERVICES["engine"]["environment"]
    assert table.api_key_env in SERVICES["gateway"]["environment"]
    words = SERVICES["engine"]["command"]
    assert option(words, "max-loras") == config.residency.max_loras
    room = config.residency.max_loras + config.residency.max_cpu_loras
    assert option(words, "max-cpu-loras") == room


def test_the_engine_fetches_and_shares_no_folder_with_the_gateway() -> None:
    (table,) = load_gateway_config(DEPLOY / "gateway.toml", {}).engines
    assert isinstance(table, FoundEngines)
    assert table.checkouts == "fetched"
    of_gateway, of_engine = (
        {mount.partition(":")[0] for mount in SERVICES[name]["volumes"]}
        for name in ("gateway", "engine")
    )
    assert not of_gateway & of_engine
    engine = SERVICES["engine"]["environment"]
    assert COMPOSE["x-registry"].items() <= engine.items()
    assert "engine:/var/lib/adapters" in SERVICES["engine"]["volumes"]
    recipe = (DEPLOY / "Containerfile.engine").read_text()
    for said in ("VLLM_PLUGINS=adapterworks ", "ADAPTERS_HOME=/var/lib/adapters "):
        assert said in recipe
    assert "ADAPTERS_SERVABLES=/var/lib/adapters/checkouts\n" in recipe


def test_answers_are_ended_before_the_process_is() -> None:
    config = load_gateway_config(DEPLOY / "gateway.toml", {})
    grace = int(SERVICES["gateway"]["stop_grace_period"].removesuffix("s"))
    assert grace >= config.http.linger_seconds + config.http.drain_seconds + 15
    of_engine = int(SERVICES["engine"]["stop_grace_period"].removesuffix("s"))
    assert of_engine >= option(SERVICES["engine"]["command"], "shutdown-timeout") + 15


@pytest.mark.parametrize("name", OURS)
def test_each_of_ours_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


def test_only_the_gateway_is_reached_and_from_this_machine_alone() -> None:
    published = {name: s["ports"] for name, s in SERVICES.items() if "ports" in s}
    assert published == {"gateway": ["127.0.0.1:8080:8080"]}
