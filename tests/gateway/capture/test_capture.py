"""What a tenant lets be kept, and what is kept of it: through real HTTP, with OpenAI's client."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from adapterworks.gateway.capture import capture as capturing
from adapterworks.gateway.capture.clean import NotKept, clean
from adapterworks.gateway.capture.draft import Draft
from adapterworks.gateway.config.tables import GatewayConfig, TrustTable
from adapterworks.gateway.supervision.supervisor import Supervisor
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.consent import Consent
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.bases.base import Base
from adapterworks.registry.exchanges import erasing
from adapterworks.registry.exchanges.exchange import Exchange
from adapterworks.registry.exchanges.store import Exchanges
from adapterworks.registry.registry import Registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Running
from tests.registry.releases import publish

MAIL = "jane.doe@acme-hospital.com"
CARD = "4111 1111 1111 1111"
KEY = "AKIA" + "Z7Q2MX4PLT9WRV3B"


@dataclass
class Clinic:
    """A gateway with two tenants, of which `acme` may agree to be captured."""

    running: Running
    standin: StandIn
    admin: TenantAdmin
    keys: dict[str, str]
    home: Path
    digest: str

    @property
    def store(self) -> Exchanges:
        return self.running.gateway.capture.store

    def client(self, tenant: str = "acme") -> openai.OpenAI:
        return self.running.client(self.keys[tenant])

    def agree(self, **consent: Any) -> None:
        """acme says what may be kept; the gateway knows it when this returns."""
        self.admin.set("acme", {"capture": Consent(**{"adapters": ("medical",), **consent})})
        assert self.running.gateway.tenants is not None
        self.running.gateway.tenants.refresh()

    def ask(self, content: Any = "what is A06?", **fields: Any) -> Any:
        messages = [{"role": "user", "content": content}]
        values = {"model": "medical", "messages": messages, "max_tokens": 3, **fields}
        return self.client().chat.completions.create(**values)

    def settled(self, outcomes: int) -> dict[str, float]:
        """How many answers had which outcome, once there are so many."""
        deadline = time.monotonic() + 30
        while True:
            (family,) = self.running.gateway.metrics.captured.collect()
            found = {
                sample.labels["outcome"]: sample.value
                for sample in family.samples
                if sample.name.endswith("_total")
            }
            if sum(found.values()) >= outcomes:
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.01)

    def kept(self) -> list[Exchange]:
        return list(self.store.read())


@pytest.fixture
def clinic(
    launcher: Launcher,
    registry: Registry,
    base: Base,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Clinic:
    monkeypatch.setattr(capturing, "BATCH_SECONDS", 0.01)
    made = publish(registry, tmp_path / "made", 1, alias="prod", base=base.identity)
    publish(registry, tmp_path / "made", 2, name="code", alias="prod", base=base.identity)
    admin = TenantAdmin(registry.database, who="tester")
    keys = {
        name: admin.add(name, allow=("*",), limits=Limits())[1].text for name in ("acme", "globex")
    }
    standin = StandIn(base.name)
    engine = launcher.standin(base, standin)
    config = GatewayConfig(trust=TrustTable(proof="off"))
    running = launcher.gateway(registry, [engine], tmp_path / "spool", config)
    running.wait_ready()
    return Clinic(running, standin, admin, keys, tmp_path, made.digest)


def bytes_under(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_nothing_is_kept_of_whoever_has_not_said_so(clinic: Clinic) -> None:
    clinic.ask("planted without consent", store=True, metadata={"a": "b"})
    clinic.agree()
    clinic.ask("planted with store false", store=False)
    clinic.ask("planted of another adapter", model="code", store=True)
    clinic.client("globex").chat.completions.create(
        model="medical", messages=[{"role": "user", "content": "planted of globex"}], max_tokens=1
    )
    clinic.ask("this one")
    assert clinic.settled(1) == {"kept": 1}
    (only,) = clinic.kept()
    assert only.messages == [{"role": "user", "content": "this one"}]
    assert b"planted" not in bytes_under(clinic.home)


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_kept_is_the_payload_with_its_receipt(clinic: Clinic, stream: bool) -> None:
    clinic.agree(share="own", retain=3600)
    clinic.standin.tokens = ["amebic ", "dys", "entery"]
    asked = time.time()
    fields: dict[str, Any] = {"temperature": 0.5, "n": 2, "user": "patient-7"}
    if stream:
        parts = list(clinic.ask(stream=True, **fields))
        name = parts[0].id
    else:
        raw = clinic.client().chat.completions.with_raw_response.create(
            model="medical",
            messages=[{"role": "user", "content": "what is A06?"}],
            max_tokens=3,
            **fields,
        )
        name = raw.parse().id
        assert raw.headers["x-adapter-digest"] == clinic.digest
    clinic.settled(1)
    (kept,) = clinic.kept()
    assert kept.id == name == f"chatcmpl-{kept.receipt}"
    assert (kept.adapter, kept.ref, kept.release) == ("medical", "medical", clinic.digest)
    assert kept.base == clinic.running.gateway.pool.engines[0].base.digest
    assert (kept.share, kept.stored, kept.redacted) == ("own", False, ())
    assert kept.expires - kept.created == 3600
    assert asked <= kept.created <= time.time()
    assert kept.request["temperature"] == 0.5
    assert "user" not in kept.request
    assert kept.request["messages"] == [{"role": "user", "content": "what is A06?"}]
    choices = kept.answer["choices"]
    assert [choice["index"] for choice in choices] == [0, 1]
    assert {choice["message"]["content"] for choice in choices} == {"amebic dysentery"}
    assert kept.answer["object"] == "chat.completion"
    prompt = clinic.standin.prompt_tokens
    assert kept.tokens == (prompt, 6)


def test_personal_data_are_never_on_the_disk(clinic: Clinic) -> None:
    clinic.agree()
    clinic.standin.tokens = ["call ", "+49 30 ", "901820"]  # in three events, none of which is one
    content = [{"type": "text", "text": f"I am {MAIL}, card {CARD}"}]
    clinic.ask(content, stream=True, metadata={"mail": MAIL}, store=True)
    list(clinic.ask(f"the key is {KEY}", stream=True))
    clinic.settled(2 if clinic.settled(1)["kept"] else 1)
    first = clinic.kept()
    disk = bytes_under(clinic.home)
    for secret in (MAIL, CARD, KEY, "901820"):
        assert secret.encode() not in disk
        assert secret not in str(first)
    assert "‹e-mail address›" in str(first)


def test_the_redacted_text_keeps_what_is_around(clinic: Clinic) -> None:
    clinic.agree()
    clinic.ask(f"Write to {MAIL} about A06.")
    clinic.settled(1)
    (kept,) = clinic.kept()
    assert kept.messages[0]["content"] == "Write to ‹e-mail address› about A06."
    assert kept.redacted == ("e-mail address",)


def test_an_exchange_with_personal_data_can_be_dropped_instead(clinic: Clinic) -> None:
    clinic.agree(on_personal="drop")
    clinic.ask(f"Write to {MAIL}.")
    clinic.ask("Write to nobody.")
    assert clinic.settled(2) == {"personal": 1, "kept": 1}
    assert [kept.messages[0]["content"] for kept in clinic.kept()] == ["Write to nobody."]


def test_what_cannot_be_looked_through_is_not_kept(clinic: Clinic) -> None:
    clinic.agree()
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    clinic.ask([{"type": "text", "text": "what is this?"}, image])
    assert clinic.settled(1) == {"unreadable": 1}
    assert clinic.kept() == []


def drafted(choice: dict[str, Any], request: dict[str, Any]) -> Draft:
    return Draft(
        tenant="tn_acme",
        tenant_name="acme",
        consent=Consent(adapters=("*",)),
        receipt="req-" + "0" * 24,
        adapter="medical",
        ref="medical",
        release="sha256:r",
        base="sha256:b",
        template="",
        stored=False,
        request={"messages": [{"role": "user", "content": "whom?"}], **request},
        metadata={},
        events=({"id": "chatcmpl-1", "choices": [choice], "prompt_token_ids": [4]},),
        streamed=False,
        tokens=(3, 4),
        size=1,
        created=0.0,
    )


def test_numbers_are_looked_through_too_but_the_requests_own() -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "her"}}
    tool = {"function": {"name": "call", "parameters": {"default": 13812345678}}}
    kept = clean(drafted(choice, {"tools": [tool], "seed": 13812345678, "temperature": 0.5}))
    assert kept.request["tools"][0]["function"]["parameters"] == {"default": "‹phone number›"}
    assert (kept.request["seed"], kept.request["temperature"]) == (13812345678, 0.5)


def test_half_a_character_is_kept_by_nobody_and_stops_no_other() -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "\ud83d"}}
    with pytest.raises(NotKept, match="unreadable"):
        clean(drafted(choice, {}))


def test_tokens_one_by_one_are_not_kept() -> None:
    """They would spell what was taken out of the text."""
    spelt = {"content": [{"token": part} for part in ("jane", "@", "acme", ".org")]}
    message = {"role": "assistant", "content": "write to jane@acme.org"}
    choice = {"index": 0, "message": message, "logprobs": spelt, "token_ids": [1, 2, 3]}
    draft = drafted(choice, {"user": "jane"})
    kept = clean(draft)
    assert kept.answer["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "write to ‹e-mail address›"}}
    ]
    assert "jane" not in str(kept)
    assert "prompt_token_ids" not in kept.answer


def test_a_sample_is_drawn_by_the_receipt(clinic: Clinic) -> None:
    names = [f"req-{number:024x}" for number in range(1000)]
    names += [f"batch-{'0' * 24}-{number}" for number in range(1000)]
    for share, least, most in ((0.5, 900, 1100), (0.1, 150, 250), (1.0, 2000, 2000)):
        consent = Consent(adapters=("medical",), sample=share)
        taken = [name for name in names if consent.takes(name)]
        assert least <= len(taken) <= most
        assert 0.4 < sum(name.startswith("req-") for name in taken) / len(taken) < 0.6
        assert taken == [name for name in names if consent.takes(name)]
    clinic.agree(sample=1e-9)
    clinic.ask("not in the sample")
    clinic.ask("asked to be stored", store=True)
    clinic.settled(1)
    assert [kept.messages[0]["content"] for kept in clinic.kept()] == ["asked to be stored"]


def test_an_answer_that_broke_off_is_not_kept(clinic: Clinic) -> None:
    clinic.agree()
    clinic.standin.holds_after = 1
    with clinic.ask("will break", stream=True) as stream:
        next(stream)
        clinic.standin.broken = True
        with pytest.raises(openai.APIError):
            list(stream)
    clinic.standin.broken, clinic.standin.holds_after = False, None
    clinic.running.wait_ready()
    clinic.ask("whole")
    clinic.settled(1)
    assert [kept.messages[0]["content"] for kept in clinic.kept()] == ["whole"]


def test_no_answer_waits_for_a_disk_that_hangs(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue is full, the writer hangs: answers come, and what is dropped is counted."""
    import threading

    go = threading.Event()
    put = clinic.store.put

    def hangs(made: Any) -> int:
        go.wait(60)
        return put(made)

    monkeypatch.setattr(clinic.store, "put", hangs)
    monkeypatch.setattr(capturing, "MOST_WAITING", 3)
    monkeypatch.setattr(capturing, "BATCH", 1)  # the writer has one in hand
    clinic.agree()
    for number in range(8):
        assert clinic.ask(f"question {number}").choices
    assert clinic.settled(4).keys() == {"full"}
    go.set()
    outcomes = clinic.settled(8)
    assert outcomes["full"] >= 4
    assert outcomes["full"] + outcomes["kept"] == 8


def test_what_waits_is_written_before_the_gateway_ends(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture, offered = clinic.running.gateway.capture, threading.Event()
    offer = capture.offer

    def tell(draft: capturing.Draft) -> None:
        offer(draft)
        offered.set()

    monkeypatch.setattr(capture, "offer", tell)
    clinic.agree()
    clinic.ask("the last one")
    assert offered.wait(60)  # the client has its answer a moment earlier
    capture.close()
    assert [kept.messages[0]["content"] for kept in clinic.kept()] == ["the last one"]


def test_what_has_expired_is_removed_by_itself(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.agree(retain=60)
    clinic.ask("soon gone")
    clinic.settled(1)
    assert [path.name for path in (clinic.home / "registry" / "exchanges").iterdir()]
    monkeypatch.setattr(capturing, "SWEEP_SECONDS", 0.01)
    later = capturing.Capture(
        clinic.store,
        supervisor=Supervisor(),
        count=lambda tenant, outcome: None,
        clock=lambda: time.time() + 61,
    )
    later.start()
    deadline = time.monotonic() + 30
    while any((clinic.home / "registry" / "exchanges").rglob("req-*")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    later.close()
    assert clinic.kept() == []


def test_after_an_erasure_no_byte_can_be_found(clinic: Clinic) -> None:
    clinic.agree()
    planted = "zebra-crossing-planted"
    clinic.standin.tokens = [f"{planted}-answer"]
    answer = clinic.ask(
        f"{planted}-question",
        store=True,
        metadata={"m": f"{planted}-metadata"},
        user=f"{planted}-user",
    )
    clinic.settled(1)
    assert len(clinic.kept()) == 1
    tenant = clinic.admin.show("acme")[0].id
    key = (clinic.home / "registry-keys" / f"{tenant}.key").read_bytes()
    erasing.erase(clinic.store, tenant, time.time())
    disk = bytes_under(clinic.home)  # store, spool, index, checkouts, keys
    assert planted.encode() not in disk
    assert answer.id.encode() not in disk.replace(answer.id.removeprefix("chatcmpl-").encode(), b"")
    assert key not in disk
    assert clinic.kept() == []
