"""`adapters import` as a command: folders, the Hub at a commit, and never torch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from adapterworks.manifests.digests import digest_file
from tests.hub_standin import HubStandin
from tests.registry.imports.hostile.good import good_tensors, write_adapter, write_base
from tests.registry.remotes.hub.machine import Machine, Trained, release_files

NewMachine = Callable[..., Machine]
WEIGHTS = "adapter_model.safetensors"


def test_a_peft_folder_becomes_a_servable_version(
    new_machine: NewMachine, trained: Trained
) -> None:
    machine = new_machine("ours")
    arguments = ("import", trained.adapter, "--as", "support", "--base", trained.base)
    done = machine.ok(*arguments, "--alias", "prod", "--json").json
    assert (done["version"], done["created"], done["rank"]) == (1, True, 4)
    registry = machine.registry
    resolved = registry.resolve("support")
    release = registry.release(resolved.digest)
    assert release.servable is not None
    assert (release.servable.form, release.servable.rank) == ("lora", 4)
    assert release.provenance.source == "folder adapter"
    servable = registry.checkout(resolved.digest, "servable")
    assert digest_file(servable / WEIGHTS) == digest_file(trained.adapter / WEIGHTS)
    config = json.loads((servable / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny-base"  # no path of this machine
    assert config["target_modules"] == sorted(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )

    again = machine.ok(*arguments, "--json").json
    assert (again["version"], again["created"]) == (1, False)
    assert len(registry.versions("support")) == 1


def test_a_hub_adapter_is_pinned_to_the_commit_it_was_read_at(
    new_machine: NewMachine, trained: Trained, hub: HubStandin
) -> None:
    files = {path.name: path.read_bytes() for path in trained.adapter.iterdir()}
    files["README.md"] = b"---\nlicense: mit\n---\n# theirs\n"
    repository = hub.create("elsewhere/lora", files)
    commit = repository.main
    machine = new_machine("ours")
    arguments = ("--as", "theirs", "--base", trained.base)
    done = machine.ok("import", "hub:elsewhere/lora@main", *arguments, "--json")
    assert done.json["source"] == f"hub:elsewhere/lora@{commit}"
    assert f"hub:elsewhere/lora@main is commit {commit}" in done.err
    release = machine.registry.release(done.json["digest"])
    assert (release.provenance.source, release.license) == (f"hub:elsewhere/lora@{commit}", "mit")

    # A pickle beside the weights is left where it is; alone it is refused.
    hub.push_by_hand("elsewhere/lora", {"adapter_model.bin": b"\x80\x04N."})
    beside = machine.ok("import", "hub:elsewhere/lora@main", *arguments, "--json")
    assert beside.json["created"] is False
    config = {"adapter_config.json": files["adapter_config.json"]}
    hub.create("elsewhere/pickled", {**config, "adapter_model.bin": b"\x80\x04N."})
    result = machine.run("import", "hub:elsewhere/pickled@main", *arguments)
    assert result.code == 6
    assert "`adapter_model.bin` is refused: a pickle" in result.err
    pinned = machine.ok("import", f"hub:elsewhere/lora@{commit}", *arguments, "--json")
    assert pinned.json["created"] is False
    missing = machine.run("import", f"hub:elsewhere/lora@{'0' * 40}", *arguments)
    assert missing.code == 3
    assert "it has no such revision" in missing.err

    # A pull of what somebody else made is an import, and says so.
    bare = machine.run("pull", f"elsewhere/lora@{commit}")
    assert bare.code == 2
    assert "it is an import" in bare.err
    pulled = machine.ok("pull", f"elsewhere/lora@{commit}", *arguments, "--json").json
    assert (pulled["commit"], pulled["created"]) == (commit, False)


def test_the_command_prints_the_refusal_and_leaves_nothing_behind(
    new_machine: NewMachine, tmp_path: Path
) -> None:
    base = write_base(tmp_path / "tiny")
    folder = write_adapter(tmp_path / "adapter", tensors=good_tensors(prefix=""))
    machine = new_machine("ours")
    arguments = ("import", folder, "--as", "support", "--base", base)
    refused = machine.run(*arguments)
    assert refused.code == 6
    assert refused.out == ""
    assert "`model.layers.*` should be `base_model.model.model.layers.*`" in refused.err
    assert machine.registry.names() == []
    assert list((machine.home / "adapters" / "tmp").iterdir()) == []
    renamed = machine.ok(*arguments, "--rename")
    assert "renamed model.layers.* to base_model.model.model.layers.*" in renamed.err


def test_an_import_never_loads_torch_or_a_pickle_of_weights(
    new_machine: NewMachine, tmp_path: Path
) -> None:
    base = write_base(tmp_path / "tiny")
    folder = write_adapter(tmp_path / "adapter")
    machine = new_machine("ours")
    program = f"""
import sys
from adapterworks.cli.main import cli
cli(["import", {os.fspath(folder)!r}, "--as", "x", "--base", {os.fspath(base)!r}],
    standalone_mode=False)
loaded = {{"torch", "transformers", "peft", "safetensors", "vllm"}} & sys.modules.keys()
print(sorted(loaded), file=sys.stderr)
"""
    done = machine.python("-c", program)
    assert done.code == 0, done.err
    assert done.err.splitlines()[-1] == "[]"
    digest = machine.registry.resolve("x@1").digest
    assert set(release_files(machine.registry, digest)) == {
        "README.md",
        "adapter.lock",
        "adapter/adapter_config.json",
        f"adapter/{WEIGHTS}",
        "servable/adapter_config.json",
        f"servable/{WEIGHTS}",
    }
