"""The core is a client: what it does without torch, an engine or Linux, and what it says it lacks.

Every module but the core's is out of reach in these processes: see `core_only.py`.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from adapterworks.app import App
from adapterworks.cli.main import COMMANDS, EXTRAS
from adapterworks.extras import MODULES, MissingExtra, extra_of, require
from adapterworks.manifests.installing import install
from adapterworks.registry.bases.base import Base
from tests.api.client import ROOT, Outcome, installed, normal, owners_of_modules, run_client
from tests.registry.releases import publish

# What a client's command line can name without having it (command, extra).
LACKING = [
    *((name, EXTRAS[name]) for name in EXTRAS),
    ("base show smollm2-135m-instruct", "build"),
    ("import . --as ours --base smollm2-135m-instruct", "build"),
    ("import . --as ours --base smollm2-135m-instruct --fingerprint", "build"),
    ("import . --as ours --base . --quantization nf4", "build"),
    ("verify medical@1 --rebuild", "build"),
]
OPERANDS = {"plan": "medical", "build": "medical", "eval": "medical", "compare": "medical"}
# Every command that only reads or writes the registry and its tenants, in an order that works.
CLIENT = """\
validate medical
validate wrong.toml
schema
methods
metrics
base list
list
list medical --json
search icd --tag coding
show medical@1
show medical --file adapter.lock
diff medical@1 medical@2
lineage medical@2
promote medical@2 prod --why tested
rollback medical:prod
log medical:prod
tenant add acme --allow medical
tenant list
tenant show acme
tenant set acme --rpm 60
usage --by tenant
tenant remove acme --yes
verify medical@1
verify --all
delete medical@2 --yes
gc
ps
doctor
"""


@pytest.fixture
def shelf(tmp_path: Path, home: Path) -> Path:
    """A home with two versions of `medical`; `prod` points to the first."""
    app = App()
    publish(app.registry, tmp_path, 1, alias="prod")
    publish(app.registry, tmp_path, 2)
    app.close()
    return home


def test_help_is_there_for_every_command(home: Path) -> None:
    commands = [[name, "--help"] for name in COMMANDS]
    commands += [["data", "gates", "--help"], ["data", "inspect", "-h"]]
    for arguments, outcome in zip(commands, run_client(home, commands), strict=True):
        assert outcome.code == 0, outcome.errors
        assert outcome.output.startswith("Usage: "), arguments
        assert outcome.errors == ""


def test_a_clients_commands_work(shelf: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text("[adapter]\n")
    commands = [line.split() for line in CLIENT.splitlines()]
    may_fail = {"validate wrong.toml": 2, "doctor": 1}
    for arguments, outcome in zip(commands, run_client(shelf, commands), strict=True):
        line = " ".join(arguments)
        assert "Traceback" not in outcome.errors, line
        assert outcome.code in (0, may_fail.get(line)), f"{line}\n{outcome}"
        assert outcome.output or line.startswith(("ps", "usage", "tenant")), line


@pytest.fixture(scope="module")
def lacking(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Outcome]]:
    """A home, and what came of each of `LACKING` there, one after the other in one process."""
    home = tmp_path_factory.mktemp("lacking") / "home"
    lines = [line for line, _ in LACKING]
    commands = [[*line.split(), *OPERANDS.get(line, "").split()] for line in lines]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ADAPTERS_DATABASE", "ADAPTERS_BLOBS"):
            patch.delenv(name, raising=False)
        patch.setenv("ADAPTERS_BASES", str(home / "bases"))  # where none is prepared
        return home, dict(zip(lines, run_client(home, commands), strict=True))


@pytest.mark.parametrize(("line", "extra"), LACKING)
def test_what_needs_more_names_the_extra(
    lacking: tuple[Path, dict[str, Outcome]], line: str, extra: str
) -> None:
    home, outcomes = lacking
    outcome = outcomes[line]
    assert outcome.code == 7
    assert outcome.output == ""
    message, _, hint = outcome.errors.partition("\n\n")
    assert message.startswith("error: ")
    assert line.split()[0] in message
    assert hint == f"hint: {install(extra)}\n"
    assert not (home / "index.db").exists()  # it was said before anything was done


def test_an_import_for_a_base_in_a_folder_needs_nothing_more(home: Path, tmp_path: Path) -> None:
    """A dense base that is a folder is used as it is; what the import finds there is its own."""
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    (outcome,) = run_client(home, [["import", ".", "--as", "ours", "--base", str(base)]])
    assert outcome.code not in (0, 7)
    assert "Traceback" not in outcome.errors


def test_a_base_that_is_prepared_needs_nothing_more(home: Path, base: Base) -> None:
    (outcome,) = run_client(home, [["base", "show", base.name]])
    assert outcome.code == 0
    assert base.digest in outcome.output


def test_what_a_profile_of_aws_needs_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAPTERS_BLOBS", "s3://bucket/adapters")
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    (outcome,) = run_client(home, [["verify", "--all"]])
    assert outcome.code == 7
    assert "hint: pip install botocore, or set AWS_ACCESS_KEY_ID" in outcome.errors


def test_a_gateway_needs_no_torch(home: Path) -> None:
    """With `[serve]` alone: engines run elsewhere; one of its own needs vLLM, which it says."""
    gateway = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "gateway").rglob("*.py")
        # Who engines or Envoy start, with extras of their own.
        if path.name != "__init__.py" and not {"engine_plugin", "picker"} & {*path.parts}
    ]
    (own,) = run_client(
        home,
        [["serve", "--port", "0", "--open"]],
        "serve",
        imports=[f"adapterworks.{name}" for name in sorted(gateway)],
    )
    assert own.code == 7
    assert "`vllm`" in own.errors
    assert "`make setup` in a checkout" in own.errors
    assert install("gpu") in own.errors


def test_a_missing_module_of_no_extra_is_not_explained_away() -> None:
    assert extra_of("nobodys_module") is None
    assert extra_of("adapterworks.builders.gone") is None
    # Its package is here, so a part of it that is not is a fault, not a missing extra.
    assert extra_of("torch.no_such_part") is None


def test_the_extras_are_those_of_the_project() -> None:
    """Each module that an extra is asked for comes from what pyproject.toml lists under it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    owners = owners_of_modules()
    for extra, modules in MODULES.items():
        lines = [normal(line) for line in project["optional-dependencies"][extra]]
        for module in modules:
            assert any(
                line.startswith(normal(owner)) for owner in owners[module] for line in lines
            ), (extra, module)
            assert module not in installed()["modules"]


def test_an_extra_that_is_there_is_not_complained_about() -> None:
    for extra in MODULES:
        require(extra, "this test")


def test_the_error_of_a_missing_extra_shows_its_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODULES, "build", ("torch", "no_such_module"))
    with pytest.raises(MissingExtra, match="`plan` needs `no_such_module`, which") as caught:
        require("build", "`plan`")
    assert caught.value.__notes__ == [f"hint: {install('build')}"]
