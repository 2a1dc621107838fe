"""From what was asked and answered to what may be kept: looked through, and cut down.

Invariant: nothing leaves here that has not been through the detectors; what they cannot read
(images, sounds, tokens one by one) is left out, or the exchange is.
"""

from __future__ import annotations

import json
from typing import Any

from adapterworks.gateway.capture.assemble import assemble
from adapterworks.gateway.capture.draft import Draft
from adapterworks.privacy.redact import Unredactable, redact_value
from adapterworks.registry.exchanges.exchange import Exchange

# Tokens one by one would tell what was taken out of the text; `user` names a person.
_OF_REQUEST = frozenset({"user", "cache_salt"})
_OF_CHOICE = frozenset({"logprobs", "token_ids", "routed_experts"})
_OF_ANSWER = ("id", "object", "created", "system_fingerprint")
_TEXTS = ("text", "input_text", "output_text", "refusal")


class NotKept(Exception):
    """Why an exchange is not kept: `personal` or `unreadable`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def clean(draft: Draft) -> Exchange:
    """What may be kept of a request and its answer.

    Raises:
        NotKept: it holds what the tenant's consent says is not to be kept, or what cannot be
            looked through.
    """
    try:
        answer = assemble(draft.events) if draft.streamed else dict(draft.events[0])
        texts: dict[str, Any] = {
            "request": {k: v for k, v in draft.request.items() if k not in _OF_REQUEST},
            "choices": [
                {k: v for k, v in choice.items() if k not in _OF_CHOICE}
                for choice in answer["choices"]
            ],
            "metadata": dict(draft.metadata),
        }
        # Numbers of the request itself (`seed`, `max_tokens`) are the interface's.
        settings = {k: v for k, v in texts["request"].items() if isinstance(v, int | float)}
        texts["request"] = {k: v for k, v in texts["request"].items() if k not in settings}
        readable = all(map(_is_text, texts["request"]["messages"]))
        json.dumps(texts, ensure_ascii=False).encode()  # half a character cannot be kept
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise NotKept("unreadable") from error
    if not readable:
        raise NotKept("unreadable")
    try:
        kept, kinds = redact_value(texts)
    except Unredactable as error:
        raise NotKept("personal") from error
    if kinds and draft.consent.on_personal == "drop":
        raise NotKept("personal")
    prompt, completion = draft.tokens
    usage = answer.get("usage") or {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    head = {name: answer[name] for name in _OF_ANSWER if answer.get(name) is not None}
    return Exchange(
        id=str(answer.get("id") or draft.receipt)[:200],
        receipt=draft.receipt,
        tenant=draft.tenant,
        adapter=draft.adapter,
        ref=draft.ref,
        release=draft.release,
        base=draft.base,
        template=draft.template,
        share=draft.consent.share,
        stored=draft.stored,
        request={**settings, **kept["request"], "model": draft.ref},
        answer={**head, "model": draft.ref, "choices": kept["choices"], "usage": usage},
        metadata=kept["metadata"],
        redacted=kinds,
        created=draft.created,
        expires=draft.created + draft.consent.retain,
    )


def _is_text(message: dict[str, Any]) -> bool:
    """Whether all of a turn can be read: a text, or parts that are."""
    content = message.get("content")
    if content is None or isinstance(content, str):
        return True
    return all(isinstance(part, dict) and part.get("type") in _TEXTS for part in content)
