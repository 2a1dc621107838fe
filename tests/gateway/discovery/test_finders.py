"""Who says which engines there are: a file, DNS, Kubernetes' API, each as it really answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import dns.asyncresolver
import dns.message
import dns.rrset
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from adapterworks.gateway.config.place import InDns, InKubernetes
from adapterworks.gateway.discovery.dns import DnsFinder
from adapterworks.gateway.discovery.file import FileFinder
from adapterworks.gateway.discovery.finder import NotTold
from adapterworks.gateway.discovery.kubernetes import KubernetesFinder
from adapterworks.gateway.discovery.open import open_finder
from tests.gateway.running import serve


async def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "engines.toml"
    finder = FileFinder(file)
    with pytest.raises(NotTold, match="cannot be read"):
        await finder.urls()
    file.write_text('urls = ["http://gpu-1:8000/", "https://gpu-2"]\n')
    assert await finder.urls() == {"http://gpu-1:8000", "https://gpu-2"}
    file.write_text("urls = []\n")
    assert await finder.urls() == frozenset()


@pytest.mark.parametrize(
    "text",
    ['urls = ["http://a', "", 'url = ["http://a"]', 'urls = "http://a"', "urls = [1]",
     'urls = ["gpu-1:8000"]', 'urls = ["file:///etc/passwd"]', 'urls = ["http://"]',
     'urls = []\nmore = 1'],
)  # fmt: skip
async def test_a_file_that_says_something_else_says_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "engines.toml"
    file.write_text(text)
    with pytest.raises(NotTold, match=r"engines\.toml"):
        await FileFinder(file).urls()


@pytest.mark.parametrize(
    "bad",
    ["http://[fd00::1:8000", "http://gpu..1:8000", f"http://{'g' * 64}:8000", "http://gpu-1:port",
     "http://gpu-1:70000", "gpu-1:8000", "file:///etc/passwd"],
)  # fmt: skip
async def test_an_entry_that_is_no_address_is_left_out_and_said_once(
    tmp_path: Path, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "engines.toml"
    finder = FileFinder(file)
    file.write_text(f'urls = ["http://[fd00::1]:8000", "{bad}", "http://gpu-2:8000"]')
    for _ in range(2):
        assert await finder.urls() == {"http://[fd00::1]:8000", "http://gpu-2:8000"}
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"`{file}` has `{bad}`, which is no address of an engine: left out"]
    file.write_text(f'urls = ["{bad}"]')  # what was found must not leave by a slip
    with pytest.raises(NotTold, match="no address of an engine"):
        await finder.urls()


async def test_every_address_of_a_name_is_an_engine() -> None:
    assert "http://127.0.0.1:8000" in await DnsFinder(InDns("localhost", 8000)).urls()
    with pytest.raises(NotTold, match=r"nothing of `no-such-host\.invalid`"):
        await DnsFinder(InDns("no-such-host.invalid", 8000)).urls()


async def test_what_one_answer_leaves_out_stays_until_all_leave_it_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One of several name servers lags behind; another gives a part; IPv4 is not answered once."""
    whole = ["10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"]
    answers = [whole, ["10.0.0.2"], ["fd00::1", "fd00::2"], whole, *[["10.0.0.2", "10.0.0.3"]] * 6]

    async def resolved(*_: Any, **__: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, 8000)) for address in answers.pop(0)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolved)
    finder = DnsFinder(InDns("gpus.test", 8000))
    one, two, three = (f"http://10.0.0.{number}:8000" for number in (1, 2, 3))
    for _ in range(4):
        assert await finder.urls() == {one, two}
    for _ in range(5):  # one that is new is there at once
        assert await finder.urls() == {one, two, three}
    assert await finder.urls() == {two, three}


@pytest.mark.parametrize(
    ("addresses", "found"),
    [
        (["10.0.0.1", "fd00::1", "10.0.0.2"], {"http://10.0.0.1:8000", "http://10.0.0.2:8000"}),
        (["fd00::1", "fd00::2"], {"http://[fd00::1]:8000", "http://[fd00::2]:8000"}),
    ],
)
async def test_a_machine_of_two_families_is_one_engine(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str], found: set[str]
) -> None:
    async def resolved(*_: Any, **__: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, 8000)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolved)
    assert await DnsFinder(InDns("gpus.test", 8000)).urls() == found


class _Zone(asyncio.DatagramProtocol):
    """A name server with one SRV record set."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query)
        name = query.question[0].name
        if name.to_text() == "_http._tcp.vllm.test.":
            records = ("0 1 8000 gpu-1.test.", "0 1 8001 gpu-2.test.")
            answer.answer.append(dns.rrset.from_text(name, 1, "IN", "SRV", *records))
        else:
            answer.set_rcode(3)  # no such name
        self._transport.sendto(answer.to_wire(), address)


async def test_the_targets_of_an_srv_record_are_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(_Zone, local_addr=("127.0.0.1", 0))
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = transport.get_extra_info("sockname")[1]
    monkeypatch.setattr(dns.asyncresolver, "default_resolver", resolver)
    try:
        found = await DnsFinder(InDns("_http._tcp.vllm.test", None)).urls()
        assert found == {"http://gpu-1.test:8000", "http://gpu-2.test:8001"}
        with pytest.raises(NotTold, match="DNS says nothing"):
            await DnsFinder(InDns("_http._tcp.gone.test", None)).urls()
    finally:
        transport.close()


def _slice(*endpoints: dict[str, Any], ports: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": [{"name": "http", "port": 8000}] if ports is None else ports,
    }


class _Api:
    """As much of Kubernetes' API as is asked."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str, str]] = []
        self.status = 200

    async def slices(self, request: Request) -> JSONResponse:
        selector = request.query_params["labelSelector"]
        namespace = request.path_params["namespace"]
        self.asked.append((namespace, selector, request.headers["authorization"]))
        if self.status != 200:
            refused = {"kind": "Status", "message": "endpointslices is forbidden"}
            return JSONResponse(refused, self.status)
        return JSONResponse({"kind": "EndpointSliceList", "items": self.items})


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[tuple[_Api, KubernetesFinder, Path]]:
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("first\n")
    (account / "namespace").write_text("models")
    api = _Api()
    path = "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    served = await serve(Starlette(routes=[Route(path, api.slices)]))
    finder = KubernetesFinder(InKubernetes(None, "vllm", None), api=served.url, account=account)
    yield api, finder, account
    await finder.close()
    await served.stop()


async def test_ready_endpoints_are_engines(api: tuple[_Api, KubernetesFinder, Path]) -> None:
    said, finder, account = api
    said.items = [
        _slice(
            {"addresses": ["10.0.0.1"], "conditions": {"ready": True}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": False}},
            {"addresses": ["10.0.0.3"]},
            {"addresses": ["10.0.0.4"], "conditions": {"ready": True, "terminating": True}},
        ),
        _slice({"addresses": ["fd00::1"], "conditions": {"ready": None}}),
        _slice(ports=None) | {"endpoints": None},
        # Of a service whose pods have gone; of one that has none ready yet.
        _slice(ports=[]) | {"endpoints": None},
        _slice({"addresses": ["10.0.0.9"], "conditions": {"ready": False}}, ports=[]),
    ]
    engines = {"http://10.0.0.1:8000", "http://10.0.0.3:8000", "http://[fd00::1]:8000"}
    assert await finder.urls() == engines
    assert said.asked == [("models", "kubernetes.io/service-name=vllm", "Bearer first")]
    (account / "token").write_text("second")  # the kubelet renews it
    await finder.urls()
    assert said.asked[-1][2] == "Bearer second"


async def test_a_service_without_pods_has_no_engines(
    api: tuple[_Api, KubernetesFinder, Path],
) -> None:
    """What its slice's controller leaves there: no ports, no endpoints."""
    said, finder, _ = api
    for port in (None, "http"):
        finder._place = InKubernetes(None, "vllm", port)
        said.items = [_slice(ports=[]) | {"endpoints": None}]
        assert await finder.urls() == frozenset()
    said.items = [_slice({"addresses": ["10.0.0.1"]}, ports=[])]
    with pytest.raises(NotTold, match="no port `http`"):
        await finder.urls()


async def test_a_pod_of_two_families_is_one_engine(
    api: tuple[_Api, KubernetesFinder, Path],
) -> None:
    said, finder, _ = api
    pods = [{"kind": "Pod", "name": name, "uid": f"uid-{name}"} for name in "ab"]
    six = {"addressType": "IPv6"}
    said.items = [
        _slice({"addresses": ["fd00::1"], "targetRef": pods[0]}) | six,
        _slice({"addresses": ["fd00::2"], "targetRef": pods[1]}) | six,
        _slice({"addresses": ["10.0.0.1"], "targetRef": pods[0]}),
    ]
    assert await finder.urls() == {"http://10.0.0.1:8000", "http://[fd00::2]:8000"}


async def test_a_port_can_be_named(api: tuple[_Api, KubernetesFinder, Path]) -> None:
    said, finder, _ = api
    ports = [{"name": "metrics", "port": 9000}, {"name": "http", "port": 8000}]
    said.items = [_slice({"addresses": ["10.0.0.1"]}, ports=ports)]
    for port, number in ((None, 9000), ("http", 8000), ("8000", 8000)):
        finder._place = InKubernetes("other", "vllm", port)
        assert await finder.urls() == {f"http://10.0.0.1:{number}"}
    assert said.asked[-1][0] == "other"
    finder._place = InKubernetes(None, "vllm", "grpc")
    with pytest.raises(NotTold, match="no port `grpc`"):
        await finder.urls()


async def test_what_kubernetes_refuses_is_said_and_is_no_empty_list(
    api: tuple[_Api, KubernetesFinder, Path],
) -> None:
    said, finder, account = api
    said.status = 403
    with pytest.raises(NotTold, match="403: endpointslices is forbidden"):
        await finder.urls()
    (account / "token").unlink()
    with pytest.raises(NotTold, match="the pod's account has no `token`"):
        await finder.urls()


async def test_outside_a_cluster_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    (tmp_path / "token").write_text("t")
    finder = KubernetesFinder(InKubernetes("a", "vllm", None), account=tmp_path)
    with pytest.raises(NotTold, match="works inside a cluster"):
        await finder.urls()


async def test_engines_with_tls_are_named_so(tmp_path: Path) -> None:
    assert "https://127.0.0.1:8000" in await DnsFinder(InDns("localhost", 8000), tls=True).urls()
    finder = open_finder(InDns("localhost", 8000), tls=True)
    assert await finder.urls() == await DnsFinder(InDns("localhost", 8000), tls=True).urls()
