"""A method from outside: one file of an installed distribution, from manifest to card.

The file is that of IA3 under another name.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from adapterworks.manifests.digests import digest_file
from tests.builders.workshop import Workshop
from tests.distribution import write_distribution
from tests.warm.python import COMMAND, warm_python

pytestmark = pytest.mark.train
KIND = 'kind = "rescale"'
ROOT = Path(__file__).parents[3]
IA3 = (ROOT / "builders" / "methods" / "ia3.py").read_text()


class Outside:
    """A workshop whose commands run where a distribution with IA3 is installed."""

    def __init__(self, workshop: Workshop, site: Path) -> None:
        self.workshop = workshop
        self.site = write_distribution(
            site,
            "acme-ia3",
            "0.3",
            {"methods": {"rescale": "acme_ia3:IA3", "broken": "acme_broken:IA3"}},
            {
                "acme_ia3.py": IA3.replace('Literal["ia3"]', 'Literal["rescale"]').replace(
                    "Ia3Table", "RescaleTable"
                ),
                "acme_broken.py": "raise RuntimeError('no such accelerator')\n",
            },
        )
        self.manifest = workshop.manifest("rescale", epochs=8, rate=3e-2)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        paths = [str(self.site), str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | self.workshop.environment | {"PYTHONPATH": ":".join(paths)}
        return subprocess.run(
            [warm_python(), "-c", COMMAND, *arguments],
            capture_output=True,
            text=True,
            env=environment,
            cwd=self.workshop.folder,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        result = self.run(*arguments)
        assert result.returncode == 0, result.stdout + result.stderr
        return json.loads(result.stdout)


@pytest.fixture
def outside(workshop: Workshop, tmp_path: Path) -> Outside:
    return Outside(workshop, tmp_path / "site")


def test_it_is_validated_listed_and_described_as_ours_are(outside: Outside) -> None:
    manifest = outside.manifest
    valid = outside.run("validate", manifest)
    assert valid.returncode == 0, valid.stdout + valid.stderr

    text = Path(manifest).read_text()
    Path(manifest).write_text(
        text.replace(
            'kind = "rescale"', 'kind = "rescale"\noutput = ["k_proj"]\ninputs = ["k_proj", 3]'
        )
    )
    faults = outside.run("validate", manifest, "--json")
    assert "did you mean `outputs`?" in faults.stdout
    assert "method.inputs[1]" in faults.stdout
    assert "expected a string, got 3" in faults.stdout

    Path(manifest).write_text(text.replace(KIND, f'{KIND}\ninputs = ["k_proj"]'))
    assert "`k_proj` is in `outputs` too" in outside.run("validate", manifest, "--json").stdout

    Path(manifest).write_text(text.replace('kind = "rescale"', 'kind = "rescales"'))
    assert 'did you mean \\"rescale\\"?' in outside.run("validate", manifest, "--json").stdout

    schema = outside.json("schema")
    tables = [option["$ref"] for option in schema["properties"]["method"]["oneOf"]]
    assert tables[-1] == "#/$defs/RescaleTable"
    assert schema["$defs"]["RescaleTable"]["properties"]["inputs"]["default"] == ["down_proj"]

    listed = {line["name"]: line for line in outside.json("methods", "--json")}
    assert "arXiv:2205.05638" in json.dumps(listed["rescale"])
    assert "acme-ia3 0.3" in json.dumps(listed["rescale"])
    assert "no such accelerator" in json.dumps(listed["broken"])


def test_one_that_cannot_be_loaded_breaks_only_what_names_it(outside: Outside) -> None:
    manifest = outside.manifest
    text = Path(manifest).read_text()
    Path(manifest).write_text(text.replace('kind = "rescale"', 'kind = "broken"'))
    result = outside.run("validate", manifest, "--json")
    assert result.returncode != 0
    assert "no such accelerator" in result.stdout
    assert "method.kind" in result.stdout
    assert "uninstall `acme-ia3`" in result.stdout
    Path(manifest).write_text(text.replace('kind = "rescale"', 'kind = "lora"'))
    assert outside.run("validate", manifest).returncode == 0


@pytest.mark.slow
def test_from_a_manifest_to_a_release_and_its_card(outside: Outside) -> None:
    plan = outside.json("plan", outside.manifest, "--json")
    # Two layers: 32 keys and 32 values (2 heads of 16), 128 inner activations.
    assert plan["trainable"] == 2 * (32 + 32 + 128)
    assert plan["servable"]["rank"] == 64
    assert 0 < plan["memory"]["total"] < 1 << 30

    built = outside.json("build", outside.manifest, "--json")
    assert built["ref"] == "tiny@1"
    # At rank 64 nothing of this base's deltas is cut off.
    assert built["servable"]["form"] == "lora"
    assert built["servable"]["error"] < 1e-4
    assert built["report"]["training"]["memory"]["measured"] > 0
    registry = outside.workshop.registry()
    release = registry.release(built["digest"])
    assert release.method == "rescale"
    assert {"adapter/adapter_config.json", "servable/adapter_config.json"} <= release.files.keys()
    config = json.loads(registry.read(built["digest"], "adapter/adapter_config.json"))
    assert config["peft_type"] == "IA3"
    card = registry.read(built["digest"], "README.md").decode()
    assert "Infused adapter by inhibiting and amplifying" in card
    assert "Served as lora (approximate" in card
    assert "| method | rescale | acme-ia3 0.3 |" in card
    (pin,) = json.loads(registry.read(built["digest"], "adapter.lock"))["extensions"]
    assert pin["digest"] == digest_file(outside.site / "acme_ia3.py")
    check_served(outside.workshop, built["digest"])

    cut = ("--set", "serve.conversion_rank=1", "--set", "serve.max_conversion_error=0.05")
    refused = outside.json("build", outside.manifest, *cut, "--json")
    assert refused["servable"] is None
    assert "serve.max_conversion_error" in " ".join(refused["reasons"])
    card = registry.read(refused["digest"], "README.md").decode()
    assert "Not served beside other adapters" in card


def check_served(workshop: Workshop, digest: str) -> None:
    """The LoRA that was cut answers as PEFT's own IA3 does."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from adapterworks.builders.evaluation.served_model import ServedModel

    registry = workshop.registry()
    servable = registry.release(digest).servable
    served = ServedModel(workshop.base, registry.checkout(digest, "servable"), servable)
    base = AutoModelForCausalLM.from_pretrained(workshop.base)
    model: Any = PeftModel.from_pretrained(base, registry.checkout(digest, "adapter")).eval()
    ids = [0, 17, 42, 99, 130, 7, 201, 17]
    with torch.inference_mode():
        expected = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0], dim=-1)
    torch.testing.assert_close(served.log_probabilities(ids), expected, rtol=0, atol=1e-4)
    base_only = served.log_probabilities(ids, adapter=False)
    assert float((expected - base_only).abs().max()) > 1e-3, "the training changed nothing"
