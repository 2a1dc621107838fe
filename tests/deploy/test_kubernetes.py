"""The kustomize base: each object of Kubernetes' own schema, and of nothing that is not there."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest

from adapterworks.gateway.config.engines import FoundEngines
from adapterworks.gateway.config.load import load_gateway_config
from adapterworks.gateway.config.place import InKubernetes
from adapterworks.gateway.http.routes.openapi import document
from adapterworks.gateway.observe.metrics import Metrics
from adapterworks.settings import Settings
from tests.deploy.reading import (
    DEPLOY,
    documents,
    option,
    unknown_options,
    variables,
    vllm_sources,
)
from tests.docs.blocks import ROOT
from tests.docs.test_commands import check

FOLDER = DEPLOY / "kubernetes"
(KUSTOMIZATION,) = documents("kubernetes/kustomization.yaml")
OBJECTS: dict[tuple[str, str], dict[str, Any]] = {
    (found["kind"], found["metadata"]["name"]): found
    for name in KUSTOMIZATION["resources"]
    for found in documents(f"kubernetes/{name}")
}
WORKLOADS = [("Deployment", "gateway"), ("StatefulSet", "smollm2"), ("Deployment", "worker")]
CONFIG = load_gateway_config(FOLDER / "gateway.toml", {})
# The oldest that has the `sleep` of a preStop hook without being asked for it.
VERSIONS = ("1.30", "1.33", "1.37")


def pod(key: tuple[str, str]) -> dict[str, Any]:
    """The pod's specification of a workload."""
    found: dict[str, Any] = OBJECTS[key]["spec"]["template"]["spec"]
    return found


def container(key: tuple[str, str]) -> dict[str, Any]:
    """Its one container."""
    (found,) = pod(key)["containers"]
    return dict(found)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("key", OBJECTS, ids="-".join)
def test_it_is_of_the_schema(key: tuple[str, str], version: str) -> None:
    kubernetes_validate.validate(OBJECTS[key], version, strict=True)


def test_a_wrong_object_is_not() -> None:
    wrong = {**OBJECTS["Deployment", "gateway"], "sepc": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.33", strict=True)


def test_every_file_is_listed() -> None:
    files = {path.name for path in FOLDER.glob("*.yaml")}
    assert files == {*KUSTOMIZATION["resources"], "kustomization.yaml", "prometheus-adapter.yaml"}
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    assert [name for name in generated["files"] if not (FOLDER / name).is_file()] == []
    used = {container(key)["image"] for key in WORKLOADS}
    assert used == {image["name"] for image in KUSTOMIZATION["images"]}


@pytest.mark.parametrize("key", WORKLOADS, ids="-".join)
def test_labels_ports_and_volumes_meet(key: tuple[str, str]) -> None:
    labels = OBJECTS[key]["spec"]["template"]["metadata"]["labels"]
    assert OBJECTS[key]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    there = {volume["name"] for volume in pod(key)["volumes"]}
    there |= {c["metadata"]["name"] for c in OBJECTS[key]["spec"].get("volumeClaimTemplates", ())}
    mounted = {mount["name"] for mount in container(key)["volumeMounts"]}
    assert mounted == there
    for volume in pod(key)["volumes"]:
        if claim := volume.get("persistentVolumeClaim"):
            assert ("PersistentVolumeClaim", claim["claimName"]) in OBJECTS
    known = variables()
    assert [v["name"] for v in container(key)["env"] if v["name"] not in known] == []


def test_selectors_select_somebody() -> None:
    labels = [OBJECTS[key]["spec"]["template"]["metadata"]["labels"] for key in WORKLOADS]
    for (kind, name), found in OBJECTS.items():
        spec = found.get("spec", {})
        if kind == "Service":
            selector, ports = spec["selector"], spec["ports"]
        elif kind == "NetworkPolicy":
            selector = spec["podSelector"]["matchLabels"]
            ports = [port for rule in spec.get("ingress", ()) for port in rule["ports"]]
        elif kind == "PodDisruptionBudget":
            selector, ports = spec["selector"]["matchLabels"], []
        else:
            continue
        selected = [
            w for w, has in zip(WORKLOADS, labels, strict=True) if selector.items() <= has.items()
        ]
        assert len(selected) == 1, name
        open_ = {port["name"] for port in container(selected[0]).get("ports", ())}
        assert {str(port.get("targetPort", port["port"])) for port in ports} <= open_, name


def test_the_gateway_is_probed_where_it_answers() -> None:
    gateway = container(("Deployment", "gateway"))
    paths = {
        kind: gateway[f"{kind}Probe"]["httpGet"]["path"]
        for kind in ("startup", "liveness", "readiness")
    }
    assert paths == {"startup": "/health", "liveness": "/health", "readiness": "/ready"}
    assert set(paths.values()) <= set(document()["paths"])
    (port,) = gateway["ports"]
    assert f"EXPOSE {port['containerPort']}\n" in (DEPLOY / "Containerfile.gateway").read_text()
    engine = container(("StatefulSet", "smollm2"))
    for kind in ("startup", "liveness", "readiness"):
        assert f'"{engine[f"{kind}Probe"]["httpGet"]["path"]}"' in vllm_sources()
    (port,) = engine["ports"]
    assert f"EXPOSE {port['containerPort']}\n" in (DEPLOY / "Containerfile.engine").read_text()


def test_streams_end_before_the_pod_does() -> None:
    seconds = pod(("Deployment", "gateway"))["terminationGracePeriodSeconds"]
    hook = container(("Deployment", "gateway"))["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert seconds >= hook + CONFIG.http.linger_seconds + CONFIG.http.drain_seconds + 15
    engine = container(("StatefulSet", "smollm2"))
    leaves = engine["lifecycle"]["preStop"]["sleep"]["seconds"]
    (table,) = CONFIG.engines
    assert isinstance(table, FoundEngines)
    assert leaves >= 2 * table.seconds  # every gateway has looked
    grace = pod(("StatefulSet", "smollm2"))["terminationGracePeriodSeconds"]
    assert grace >= leaves + option(engine["args"], "shutdown-timeout") + 15


def test_what_they_are_started_with_is_taken() -> None:
    gateway = container(("Deployment", "gateway"))["args"]
    check(list(gateway))
    worker = container(("Deployment", "worker"))
    assert worker["command"] == ["adapters"]
    check(list(worker["args"]))
    assert unknown_options(container(("StatefulSet", "smollm2"))["args"]) == []
    mounts = container(("Deployment", "gateway"))["volumeMounts"]
    (config,) = [mount for mount in mounts if mount["name"] == "config"]
    assert gateway[-1] == f"{config['mountPath']}/gateway.toml"


def test_gateways_find_the_engines_and_agree_with_them() -> None:
    (table,) = CONFIG.engines
    assert isinstance(table, FoundEngines)
    place = table.place
    assert isinstance(place, InKubernetes)
    service = OBJECTS["Service", place.service]
    assert service["spec"]["clusterIP"] == "None"  # pods, never an address in front of them
    assert place.port in {port["name"] for port in service["spec"]["ports"]}
    engine = container(("StatefulSet", "smollm2"))
    assert table.api_key_env in {variable["name"] for variable in engine["env"]}
    assert option(engine["args"], "max-num-seqs") == table.max_num_seqs
    assert option(engine["args"], "max-loras") == CONFIG.residency.max_loras
    room = CONFIG.residency.max_loras + CONFIG.residency.max_cpu_loras
    assert option(engine["args"], "max-cpu-loras") == room
    # And nothing but what `discovery/kubernetes.py` asks for.
    assert OBJECTS["Role", "gateway"]["rules"] == [
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list"]}
    ]
    (subject,) = OBJECTS["RoleBinding", "gateway"]["subjects"]
    assert subject["name"] == pod(("Deployment", "gateway"))["serviceAccountName"]
    for key in WORKLOADS[1:]:
        assert pod(key)["automountServiceAccountToken"] is False


def test_engines_fetch_with_a_token_and_nothing_is_read_and_written_by_many() -> None:
    claims = [found for (kind, _), found in OBJECTS.items() if kind == "PersistentVolumeClaim"]
    assert {mode for claim in claims for mode in claim["spec"]["accessModes"]} == {"ReadWriteOnce"}
    (table,) = CONFIG.engines
    assert isinstance(table, FoundEngines)
    assert table.checkouts == "fetched"
    assert CONFIG.registry.on
    engine = container(("StatefulSet", "smollm2"))
    assert engine["envFrom"] == [{"secretRef": {"name": "engines"}}]  # no password of the index
    said = (ROOT / "docs" / "how-to" / "containers.md").read_text(encoding="utf-8")
    for name in ("ADAPTERS_REGISTRY", "ADAPTERS_REGISTRY_TOKEN", "ADAPTERS_REGISTRY_INSECURE"):
        assert f"--from-literal={name}=" in said
        assert name in variables()
    assert "http://gateway.adapters" in said
    assert OBJECTS["Service", "gateway"]["spec"]["ports"][0]["port"] == 80
    mounts = {m["mountPath"]: m["name"] for m in engine["volumeMounts"]}
    (home,) = [
        v for v in pod(("StatefulSet", "smollm2"))["volumes"]
        if v["name"] == mounts["/var/lib/adapters"]
    ]  # fmt: skip
    (room,) = [v["value"] for v in engine["env"] if v["name"] == "ADAPTERS_CHECKOUTS"]
    assert int(home["emptyDir"]["sizeLimit"].removesuffix("Gi")) * 2**30 > 1.2 * byte_count(room)


def byte_count(room: str) -> int:
    """As the settings read it."""
    found = Settings.from_environment({"ADAPTERS_CHECKOUTS": room}).checkouts
    assert found is not None
    return found


def test_gateways_that_share_no_keys_capture_nothing_and_the_component_has_them_share() -> None:
    gateway = container(("Deployment", "gateway"))
    (keys,) = [v["value"] for v in gateway["env"] if v["name"] == "ADAPTERS_KEYS_DIR"]
    writable = [mount["mountPath"] for mount in gateway["volumeMounts"]]
    assert not any(keys == place or keys.startswith(place + "/") for place in writable)
    assert gateway["securityContext"]["readOnlyRootFilesystem"] is True
    (component,) = documents("kubernetes/capture/kustomization.yaml")
    (claim,) = documents(f"kubernetes/capture/{component['resources'][0]}")
    for version in VERSIONS:
        kubernetes_validate.validate(claim, version, strict=True)
    (patch,) = documents(f"kubernetes/capture/{component['patches'][0]['path']}")
    assert (patch["kind"], patch["metadata"]["name"]) in OBJECTS
    (patched,) = patch["spec"]["template"]["spec"]["containers"]
    assert patched["name"] == gateway["name"]
    assert [mount["mountPath"] for mount in patched["volumeMounts"]] == [keys]
    (volume,) = patch["spec"]["template"]["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


@pytest.mark.parametrize("key", WORKLOADS, ids="-".join)
def test_the_pod_is_as_restricted_as_the_namespace_asks(key: tuple[str, str]) -> None:
    labels = OBJECTS["Namespace", KUSTOMIZATION["namespace"]]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    of_pod, of_container = pod(key)["securityContext"], container(key)["securityContext"]
    assert of_pod["runAsNonRoot"] is True
    assert of_pod["runAsUser"] == 10001
    assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert of_container["allowPrivilegeEscalation"] is False
    assert of_container["readOnlyRootFilesystem"] is True
    assert of_container["capabilities"] == {"drop": ["ALL"]}


def test_engines_are_scaled_by_measures_that_somebody_makes() -> None:
    (adapter,) = documents("kubernetes/prometheus-adapter.yaml")
    metrics = OBJECTS["HorizontalPodAutoscaler", "smollm2"]["spec"]["metrics"]
    (waiting,) = [m["external"]["metric"]["name"] for m in metrics if m["type"] == "External"]
    (series,) = [rule["seriesQuery"].partition("{")[0] for rule in adapter["rules"]["external"]]
    ours = {family.name for family in Metrics().registry.collect()}
    assert waiting == series
    assert series in ours
    (running,) = [m["pods"]["metric"]["name"] for m in metrics if m["type"] == "Pods"]
    (rule,) = adapter["rules"]["custom"]
    assert rule["name"]["as"] == running
    assert f'name="{rule["seriesQuery"].partition("{")[0]}"' in vllm_sources()


def test_who_is_scaled_is_there_and_sets_no_number_itself() -> None:
    for (kind, name), found in OBJECTS.items():
        if kind == "HorizontalPodAutoscaler":
            target = found["spec"]["scaleTargetRef"]
            workload = OBJECTS[target["kind"], target["name"]]
            assert workload["apiVersion"] == target["apiVersion"], name
            assert "replicas" not in workload["spec"]
