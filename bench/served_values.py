"""Are the served values those training saw? The trainer's 4-bit model against the running engine.

The release's own adapter on bitsandbytes' NF4 weights, as training computed, gives the next token's
log-probabilities for 20 prompts; the engine's top 20 of each, through the gateway, must be equal
within `TOLERANCE` nats (float32 on both sides; what is left is the order of additions).

    python -m bench.served_values medical@1 --url http://127.0.0.1:8080
"""

from __future__ import annotations

import argparse
import sys

TOLERANCE = 0.01
PROMPTS = 20


def largest_difference(ref: str, url: str, prompts: int = PROMPTS) -> float:
    """The largest difference of a log-probability, in nats, over all prompts and top tokens."""
    from adapterworks.registry.bases.quiet import quiet_libraries

    quiet_libraries()  # before PEFT, which imports what warns
    import torch
    from openai import OpenAI
    from peft import PeftModel
    from transformers import AutoTokenizer

    from adapterworks.app import App
    from adapterworks.builders.data.load import load_rows
    from adapterworks.manifests.models import Manifest
    from adapterworks.registry.bases.nf4 import load_nf4

    app = App()
    resolved = app.registry.resolve(ref)
    release = app.registry.release(resolved.digest)
    base = app.bases.find(release.base.digest)
    assert base is not None, "the base that the release was trained on is not here"
    model = load_nf4(base.checkpoint, double_quantization=base.double_quantization)
    model = PeftModel.from_pretrained(model, app.registry.checkout(resolved.digest, "adapter"))
    model.eval()
    tokenizer = AutoTokenizer.from_pretrained(base.checkpoint)
    manifest = Manifest.model_validate_json(app.registry.read(resolved.digest, "manifest.json"))
    rows = load_rows(manifest, cache=app.settings.home / "cache").test[:prompts]
    client = OpenAI(base_url=f"{url}/v1", api_key="none")
    largest = 0.0
    for row in rows:
        text = tokenizer.apply_chat_template(
            list(row.messages[:-1]), add_generation_prompt=True, tokenize=False
        )
        with torch.no_grad():
            ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
            expected = model(**ids).logits[0, -1].log_softmax(-1)
        answer = client.completions.create(
            model=ref,
            prompt=ids["input_ids"][0].tolist(),
            max_tokens=1,
            temperature=0,
            logprobs=20,
            extra_body={"return_tokens_as_token_ids": True},
        )
        logprobs = answer.choices[0].logprobs
        assert logprobs is not None
        assert logprobs.top_logprobs is not None
        for token, value in logprobs.top_logprobs[0].items():
            index = int(token.removeprefix("token_id:"))
            largest = max(largest, abs(value - float(expected[index])))
    return largest


def main() -> int:
    """Print the largest difference; 1 if it is above the tolerance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ref")
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    options = parser.parse_args()
    difference = largest_difference(options.ref, options.url)
    print(
        f"{options.ref}: largest log-probability difference between the trainer's NF4 model and "
        f"the engine, {PROMPTS} prompts × top 20: {difference:.2e} nats (tolerance {TOLERANCE})"
    )
    return 0 if difference <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
