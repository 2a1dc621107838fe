"""A folder for `ollama create`: GGUF of the whole model and a Modelfile; proved in llama.cpp.

Ollama computes with llama.cpp and reads the same file, so the file is proved there. What Ollama
does itself is the template, which it has in Go's `text/template`: the chat template is translated
as a row of turns, and is refused where these render a talk to another text (`turns.py`).
Format: https://docs.ollama.com/modelfile
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from adapterworks.builders.evaluation.asking import ends
from adapterworks.builders.exports.export import Export, Settings
from adapterworks.builders.exports.gguf.writer import read_config
from adapterworks.builders.exports.gguf_model import GgufModel
from adapterworks.builders.exports.material import Material
from adapterworks.builders.exports.readers.reader import Reader, Talk, rendered
from adapterworks.builders.exports.turns import Turns, find_turns
from adapterworks.manifests.errors import Refused
from adapterworks.registry.bases.files import chat_template

MODEL, MODELFILE = "model.gguf", "Modelfile"
CONTEXT = 8192  # 131,072 tokens of an 8B are 16 GB of cache, which no laptop loads
_QUOTES = '"""'
# Ollama's names of what a checkpoint's `generation_config.json` says.
_PARAMETERS = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}


class Ollama(Export):
    """A GGUF file with a Modelfile beside it."""

    name = "ollama"
    title = "a folder with Modelfile and GGUF, for `ollama create`"
    engine = "llama.cpp"
    package = "xllamacpp"
    types: ClassVar[tuple[str, ...]] = GgufModel.types

    def objections(self, material: Material, settings: Settings) -> Iterator[str]:
        """What GGUF objects to, and a chat template that Ollama's language cannot say."""
        yield from GgufModel().objections(material, settings)
        try:
            go_template(turns_of(material.checkpoint))
        except Refused as error:
            yield error.message

    def write(self, material: Material, settings: Settings, place: Path) -> None:
        """See `Export`."""
        place.mkdir()
        GgufModel().write(material, settings, place / MODEL)
        (place / MODELFILE).write_text(modelfile(material), encoding="utf-8")

    @contextmanager
    def reader(
        self, material: Material, settings: Settings, place: Path, scratch: Path
    ) -> Iterator[Reader]:
        """llama.cpp with the file."""
        with GgufModel().reader(material, settings, place / MODEL, scratch) as reader:
            yield reader


def modelfile(material: Material) -> str:
    """The text of the Modelfile."""
    turns, config = turns_of(material.checkpoint), read_config(material.checkpoint)
    lines = [
        f"# {material.ref} {material.release.digest}",
        f"FROM ./{MODEL}",
        f"TEMPLATE {_quoted(go_template(turns))}",
    ]
    if turns.system:
        lines.append(f"SYSTEM {_quoted(turns.system)}")
    longest = int(config["max_position_embeddings"])
    lines.append(f"# it takes {longest} tokens; Ollama allocates the cache of num_ctx at once")
    lines.append(f"PARAMETER num_ctx {min(longest, CONTEXT)}")
    for key, value in _generation(material.checkpoint):
        lines.append(f"PARAMETER {key} {value}")
    for token in stop_tokens(material.checkpoint, turns):
        lines.append(f"PARAMETER stop {json.dumps(token, ensure_ascii=False)}")
    # A stranger's text, which could end there and go on with instructions of its own.
    license_ = material.release.license.replace('"', "'")
    lines.append(f"LICENSE {_quoted(license_)}")
    return "\n".join(lines) + "\n"


def go_template(turns: Turns) -> str:
    """The turns in Go's `text/template`, over Ollama's `.Messages`.

    Raises:
        Refused: a text of the template is one of that language.
    """
    texts = [turns.before, turns.answer, *(text for pair in turns.around.values() for text in pair)]
    if any(mark in text for text in texts for mark in ("{", "}", _QUOTES)):
        raise Refused("its chat template has braces or quotation marks, which a Modelfile's cannot")
    if _QUOTES in turns.system:
        raise Refused("its system prompt has quotation marks that a Modelfile's cannot")
    branches = [
        f'if eq .Role "{role}" }}}}{open_}{{{{ .Content }}}}{close}{{{{ '
        for role, (open_, close) in turns.around.items()
    ]
    turn = "{{ " + "else ".join(branches) + "end }}"
    return f"{turns.before}{{{{ range .Messages }}}}{turn}{{{{ end }}}}{turns.answer}"


def turns_of(checkpoint: Path) -> Turns:
    """The turns of a checkpoint's chat template.

    Raises:
        Refused: it has none, or it is no row of turns.
    """
    import transformers

    if not chat_template(checkpoint):
        raise Refused("its base has no chat template, which Ollama needs")
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(checkpoint)

    def render(talk: Talk, answer: bool) -> str:
        return rendered(tokenizer, talk, answer=answer)

    return find_turns(render, tokenizer.bos_token or "")


def stop_tokens(checkpoint: Path, turns: Turns) -> list[str]:
    """What ends an answer: where releases are served, and the control token that closes a turn."""
    import transformers

    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(checkpoint)
    # An end that is an ordinary token is the GGUF file's matter: its text may be part of others.
    control = {id_: str(t) for id_, t in tokenizer.added_tokens_decoder.items() if t.special}
    close = turns.around["assistant"][1]
    found = [token for token in control.values() if close.startswith(token)]
    known = [control.get(id_) for id_ in ends(checkpoint, tokenizer.eos_token_id)]
    return list(dict.fromkeys([*found, *filter(None, known)]))


def _generation(checkpoint: Path) -> Iterator[tuple[str, float]]:
    path = checkpoint / "generation_config.json"
    table = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for key, name in _PARAMETERS.items():
        if isinstance(table.get(key), int | float):
            yield name, table[key]


def _quoted(text: str) -> str:
    return f"{_QUOTES}{text}{_QUOTES}"


EXPORT = Ollama()
