"""The scene of `bench.sabotage`: two good adapters on real rows, and a registry of sabotaged ones.

Invariant: the good ones are built once and kept; what is served is planted anew in each run.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from adapterworks.registry.releases.release import Draft, Release
from bench.apart import environment, settle
from bench.every_method import SIZE as SMALL
from bench.sabotages import SABOTAGES, WEIGHTS, Scene

ROOT = Path(__file__).resolve().parents[1]
BASE = "smollm2-135m-instruct"
GOOD, OTHER = "medical", "enterprise-kb"
# A dozen steps at a rate that moves the answers.
SIZE = (
    *SMALL,
    'base={model="smollm2-135m-instruct",quantization="none"}',
    'method={kind="lora",rank=16}',
    "data.limit_test=1",
    "train.learning_rate=1e-3",
    "evaluate.max_new_tokens=4",
)


def build(name: str, home: Path) -> tuple[Release, Path]:
    """A good adapter and its files in a folder."""
    from adapterworks.app import App
    from adapterworks.builders.building.run import run_build
    from adapterworks.manifests.load import load_manifest
    from adapterworks.progress import BuildProgress
    from adapterworks.settings import Settings

    app = App(Settings.from_environment(environment(home)))
    with BuildProgress(quiet=False) as progress:
        result = run_build(
            load_manifest(name, overrides=SIZE),
            registry=app.registry,
            bases=app.bases,
            home=home,
            who=app.settings.who,
            listeners=(progress,),
            progress=progress.say,
        )
    release = app.registry.release(result.digest)
    folder = home / "files" / name
    shutil.rmtree(folder, ignore_errors=True)
    for path in release.files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(app.registry.read(result.digest, path))
    app.close()
    return release, folder


def make_key(folder: Path) -> tuple[Path, Path]:
    """A release key: private and public."""
    private, public = folder / "release.pem", folder / "release.pub"
    for command in (
        ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private],
        ["pkey", "-in", private, "-pubout", "-out", public],
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    return private, public


def fingerprint_on_nf4(folder: Path, release: Release) -> dict[str, Any]:
    """What the good adapter answers on the NF4 values of its base."""
    from transformers import AutoTokenizer

    from adapterworks.app import App
    from adapterworks.builders.evaluation.fingerprint import make_fingerprint
    from adapterworks.builders.evaluation.served_model import ServedModel

    base = App().bases.ensure(BASE, quantization="nf4")
    return make_fingerprint(
        ServedModel(base.served, folder / "servable", release.servable),
        AutoTokenizer.from_pretrained(base.checkpoint),
        [],
        base_digest=base.digest,
        template_digest=base.template_digest,
    )


def plant(home: Path, served: Path) -> dict[str, str]:
    """Fill the registry that will be served; returns each adapter's ref by its name."""
    from adapterworks.app import App

    release, good = build(GOOD, home)
    other_release, other = build(OTHER, home)
    shutil.rmtree(served, ignore_errors=True)
    served.mkdir(parents=True)
    settle(served)
    app = App()
    private, public = make_key(served)
    (served / "gateway.toml").write_text(
        f'[trust]\nrequire_signature = true\npublic_keys = ["{public}"]\n'
    )
    refs = {}
    for name, files, source in ((GOOD, good, release), (OTHER, other, other_release)):
        draft = Draft(**{key: getattr(source, key) for key in Draft.model_fields})
        published = app.registry.publish(files, draft, who="sabotage", alias="prod")
        app.registry.signatures.sign(published.digest, private, who="sabotage")
        refs[name] = str(published)
    scene = Scene(
        registry=app.registry,
        draft=Draft(**{key: getattr(release, key) for key in Draft.model_fields}),
        good=good,
        other=other,
        on_nf4=fingerprint_on_nf4(good, release),
        key=private,
        scratch=served / "planted",
    )
    for sabotage in SABOTAGES:
        refs[sabotage.name] = sabotage.plant(scene)
    # The good one's checkout is sabotaged too, before anyone has asked for it.
    checkout = app.registry.checkout(release.digest, "servable")
    weights = checkout / Path(WEIGHTS).name
    weights.chmod(0o600)
    shutil.copyfile(other / WEIGHTS, weights)
    app.close()
    return refs
