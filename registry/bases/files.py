"""The files of a checkpoint: what makes one, what its digest covers, whether it changed.

Invariant: a digest covers weights, configuration, tokenizer, chat template, generation settings and
quantization, and nothing of the machine that holds them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adapterworks.manifests.digests import digest_bytes, digest_file, digest_json
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.homes import expanded

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)


GENERATION = "generation_config.json"
# What of it changes no answer: who wrote it, and what a model is asked to return beside its logits.
_BOOKKEEPING = (
    "_from_model_config",
    "transformers_version",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "output_logits",
    "return_dict_in_generate",
    "use_cache",
)


def generation_settings(checkpoint: Path) -> dict[str, Any]:
    """What the checkpoint's `generation_config.json` says of how answers are chosen, beyond what
    `config.json` says already; empty for most base models.

    Raises:
        InvalidInput: it is no JSON object.
    """
    path = checkpoint / GENERATION
    if not path.exists():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        known = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
        return {
            key: value
            for key, value in values.items()
            if key not in _BOOKKEEPING
            and value is not None
            and not (key.endswith("_token_id") and known.get(key) == value)
        }
    except (ValueError, AttributeError) as error:
        raise InvalidInput(
            f"`{path}` is no JSON object: {error}", hint="mend it, or remove the file"
        ) from error


def chat_template(checkpoint: Path) -> str:
    """The checkpoint's chat template text; empty if it has none."""
    separate = checkpoint / "chat_template.jinja"
    if separate.exists():
        return separate.read_text()
    config = checkpoint / "tokenizer_config.json"
    template = json.loads(config.read_text()).get("chat_template") if config.exists() else None
    return template if isinstance(template, str) else ""


def base_digest(
    checkpoint: Path, quantization: str, double: bool, *, generation: bool = True
) -> str:
    """The digest that names a base: these files under this quantization.

    Args:
        generation: whether it covers the generation settings; before 0.2 none did.
    """
    settings = generation_settings(checkpoint) if generation else {}
    return digest_json(
        {
            # Not there when there are none: the digest of such a base is what it always was.
            **({"generation": settings} if settings else {}),
            "weights": {p.name: digest_file(p) for p in sorted(checkpoint.glob("*.safetensors"))},
            "config": digest_file(checkpoint / "config.json"),
            "tokenizer": {
                name: digest_file(checkpoint / name)
                for name in TOKENIZER_FILES
                if (checkpoint / name).exists()
            },
            "template": digest_bytes(chat_template(checkpoint).encode()),
            "quantization": {"kind": quantization, "double": double},
        }
    )


def content_revision(checkpoint: Path) -> str:
    """A local folder has no commit: its revision is the digest of its weights."""
    weights = {p.name: digest_file(p) for p in sorted(checkpoint.glob("*.safetensors"))}
    return digest_json(weights)


def checkpoint_folder(path: Path) -> Path:
    """The absolute path of a model checkpoint.

    Raises:
        InvalidInput: there is no folder, or no config.json with safetensors in it.
    """
    given, path = path, expanded(path).absolute()
    if not path.is_dir():
        of_hub = f"hub:{given}@main" if len(given.parts) == 2 else "hub:org/name@main"
        raise InvalidInput(
            f"there is no folder `{path}`", hint=f"a model of the Hub is written `{of_hub}`"
        )
    if not (path / "config.json").is_file() or not list(path.glob("*.safetensors")):
        raise InvalidInput(
            f"`{path}` is not a model checkpoint: it needs config.json and *.safetensors",
            hint="save model and tokenizer there with their `save_pretrained(folder)`",
        )
    return path


def stamps(checkpoint: Path) -> dict[str, list[int]]:
    """Size and modification time of every file the digest covers: if unchanged, no rehash."""
    files = [
        *sorted(checkpoint.glob("*.safetensors")),
        checkpoint / "config.json",
        checkpoint / "chat_template.jinja",
        checkpoint / GENERATION,
        *(checkpoint / name for name in TOKENIZER_FILES),
    ]
    stats = {path.name: path.stat() for path in files if path.exists()}
    noted = {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}
    # There or not, it is noted: a record without it is of before the digest covered it.
    return {GENERATION: [0, 0], **noted}
