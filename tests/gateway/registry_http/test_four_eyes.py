"""Four eyes over HTTP: two tokens are not two people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapterworks.gateway.http.routes.registry.access import PREFIX
from adapterworks.gateway.tokens.roles import Role
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.lifecycle.protection import Rule, Settings
from tests.gateway.registry_http.conftest import Offered
from tests.registry.releases import publish


@pytest.fixture
def two(offered: Offered, tmp_path: Path) -> Offered:
    """Two versions, the first of them `prod`, whose moves somebody else approves."""
    for number in (1, 2):
        publish(offered.registry, tmp_path, number)
    offered.registry.promote("medical", 1, "prod", who="me")
    _approvals(offered, 1)
    return offered


def _approvals(offered: Offered, number: int) -> None:
    rule = Rule(names=("medical",), approvals=number)
    offered.registry.protection.keep(Settings(aliases={"prod": rule}), who="me")


def here(offered: Offered, name: str, person: str, role: Role = Role.PROMOTER) -> str:
    """A token that was made where the registry is."""
    return offered.desk.tokens.create(name, role, who="me", person=person).text


def there(offered: Offered, maker: str, name: str, person: str, role: str = "promoter") -> str:
    """A token that an administrator made over HTTP, and so has seen."""
    body = {"name": name, "person": person, "role": role}
    answer = offered.with_key(maker).post(f"{PREFIX}/tokens", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


def ask(offered: Offered, token: str) -> int:
    body = {"version": 2, "why": "better", "expect": 1}
    way = f"{PREFIX}/adapters/medical/aliases/prod/requests"
    answer = offered.with_key(token).post(way, json=body)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["id"])


def approve(offered: Offered, token: str, number: int) -> Any:
    return offered.with_key(token).post(f"{PREFIX}/requests/{number}/approval", json={})


def holder(offered: Offered) -> int:
    return offered.registry.resolve("medical:prod").version


def test_a_second_token_is_not_a_second_person(two: Offered) -> None:
    laptop, ci = here(two, "ann.laptop", "ann"), here(two, "ann.ci", "ann")
    number = ask(two, laptop)
    refused = approve(two, ci, number)
    assert (refused.status_code, holder(two)) == (422, 1)
    assert "by `ann`, who cannot approve" in refused.json()["error"]["message"]
    assert approve(two, here(two, "bob", "bob"), number).status_code == 200
    assert holder(two) == 2
    log = two.registry.log.events("medical", limit=3)
    assert {event.who for event in log} == {"ann", "bob"}


def test_a_token_is_the_person_that_the_issuer_names(two: Offered) -> None:
    """Addresses and ids of issuers are no names of adapters."""
    root = here(two, "root", "root", Role.ADMIN)
    for number, person in enumerate(("ann@example.com", "auth0|5f7C", "Ann Müller")):
        asked = ask(two, here(two, f"one.{number}", person))
        other = there(two, root, f"two.{number}", person)
        assert approve(two, other, asked).status_code == 422
    assert holder(two) == 1


@pytest.mark.parametrize("person", ["", " ann", "tenant:acme", "a\x00b", "x" * 201])
def test_what_names_no_person_is_refused(two: Offered, person: str) -> None:
    with pytest.raises(InvalidInput, match="names no person"):
        here(two, "some", person)


def test_two_tokens_of_one_person_are_one_approval(two: Offered) -> None:
    _approvals(two, 2)
    number = ask(two, here(two, "ann", "ann"))
    assert approve(two, here(two, "bob.one", "bob"), number).json()["outcome"] is None
    assert approve(two, here(two, "bob.two", "bob"), number).status_code == 422
    assert holder(two) == 1


def test_an_administrator_is_not_the_person_they_made_a_token_for(two: Offered) -> None:
    root = here(two, "root", "root", Role.ADMIN)
    other = there(two, root, "other", "other", "admin")
    invented = there(two, other, "invented", "invented")
    number = ask(two, root)
    for token in (other, invented):  # made by who asked, or by somebody whom they made
        assert approve(two, token, number).status_code == 422
    for token in (other, invented):
        number = ask(two, token)
        assert approve(two, root, number).status_code == 422
    assert holder(two) == 1
    assert approve(two, here(two, "bob", "bob"), number).status_code == 200


def test_an_approval_is_not_doubled_by_a_token_that_the_approver_made(two: Offered) -> None:
    _approvals(two, 2)
    root = here(two, "root", "root", Role.ADMIN)
    invented = there(two, root, "invented", "invented")
    for first, second in ((root, invented), (invented, root)):
        number = ask(two, here(two, f"ann.{first[-6:].lower()}x", "ann"))
        assert approve(two, first, number).status_code == 200
        assert approve(two, second, number).status_code == 422
    assert holder(two) == 1


def test_people_whose_tokens_one_administrator_made_are_two(two: Offered) -> None:
    root = here(two, "root", "root", Role.ADMIN)
    ann, bob = (there(two, root, name, name) for name in ("ann", "bob"))
    assert approve(two, bob, ask(two, ann)).status_code == 200
    assert holder(two) == 2


def test_a_token_that_was_there_before_is_for_whom_it_is_named(two: Offered) -> None:
    token = here(two, "ann", "ann")
    with two.registry.database.write() as connection:
        connection.exec_driver_sql("UPDATE gateway_registry_tokens SET person=NULL, makers=NULL")
    told = two.with_key(token).get(f"{PREFIX}/me").json()
    assert (told["name"], told["person"]) == ("ann", "ann")
    assert two.desk.tokens.list()[-1].person == "ann"
