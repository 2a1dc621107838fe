"""What `discover` can say."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.gateway.config.load import load_gateway_config
from adapterworks.gateway.config.place import InDns, InFile, InKubernetes, Place, parse_place
from adapterworks.manifests.faults import ManifestError


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("file:engines.toml", InFile(Path("engines.toml"))),
        ("file:/etc/a:b.toml", InFile(Path("/etc/a:b.toml"))),
        ("dns:vllm.default.svc:8000", InDns("vllm.default.svc", 8000)),
        ("dns:_http._tcp.vllm.internal", InDns("_http._tcp.vllm.internal", None)),
        ("k8s:vllm", InKubernetes(None, "vllm", None)),
        ("k8s:models/vllm:http", InKubernetes("models", "vllm", "http")),
        ("k8s:models/vllm:8000", InKubernetes("models", "vllm", "8000")),
    ],
)
def test_each_place_is_read(text: str, place: Place) -> None:
    assert parse_place(text) == place


@pytest.mark.parametrize(
    "text",
    ["", "file:", "dns:vllm", "dns:vllm:0", "dns:vllm:65536", "dns:vllm:http", "dns:a b:80",
     "dns::80", "k8s:", "k8s:/vllm", "k8s:a/b/c", "k8s:Vllm", "k8s:vllm:", "consul:vllm",
     "k8s:vllm?watch=1"],
)  # fmt: skip
def test_what_is_no_place_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"should be `file:PATH`.*k8s:"):
        parse_place(text)


def test_a_configuration_names_the_line_and_finds_the_file_beside_itself(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('[[engines]]\ndiscover = "file:engines.toml"\n')
    (table,) = load_gateway_config(file, {}).engines
    assert table.place == InFile(tmp_path / "engines.toml")  # type: ignore[union-attr]
    file.write_text('[[engines]]\ndiscover = "consul:vllm"\n')
    with pytest.raises(ManifestError) as refused:
        load_gateway_config(file, {})
    (fault,) = refused.value.faults
    assert (fault.line, fault.key) == (2, "engines[0].discover")
    file.write_text('[[engines]]\ndiscover = "k8s:vllm"\nurl = "http://a:1"\n')
    with pytest.raises(ManifestError, match="unknown key"):
        load_gateway_config(file, {})
