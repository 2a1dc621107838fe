"""Names in OCI registries."""

from __future__ import annotations

import pytest

from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.remotes.oci.names import OciName, parse_oci

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("oci://ghcr.io/org/medical", OciName("ghcr.io", "org/medical")),
        ("oci://localhost:5000/medical:v3", OciName("localhost:5000", "medical", "v3")),
        ("oci://[::1]:5000/a/b-c/d__e:1.0_x", OciName("[::1]:5000", "a/b-c/d__e", "1.0_x")),
        (f"oci://r.example/a@{DIGEST}", OciName("r.example", "a", None, DIGEST)),
        (f"oci://r.example/a:t@{DIGEST}", OciName("r.example", "a", "t", DIGEST)),
    ],
)
def test_a_name_is_read_and_written_alike(text: str, name: OciName) -> None:
    assert parse_oci(text) == name
    assert str(name) == text


@pytest.mark.parametrize(
    "text",
    ["ghcr.io/org/medical", "oci://", "oci://ghcr.io", "oci://ghcr.io/", "oci://ghcr.io/Org/a",
     "oci://ghcr.io/a//b", "oci://ghcr.io/../a", "oci://ghcr.io/a:-t",
     f"oci://ghcr.io/a:{'t' * 129}",
     "oci://user@ghcr.io/a", "oci://ghcr.io/a@sha256:abc", "oci://ghcr.io/a?b", "oci://ghcr.io:x/a",
     "oci://ghcr.io/" + "a" * 256],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a repository of an OCI registry"):
        parse_oci(text)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("localhost:5000", True), ("127.0.0.2:80", True), ("[::1]:5000", True),
     ("localhost.example", False), ("10.0.0.1:5000", False), ("[fe80::1]", False)],
)  # fmt: skip
def test_which_registry_is_on_this_machine(host: str, loopback: bool) -> None:
    assert OciName(host, "a").is_loopback is loopback
