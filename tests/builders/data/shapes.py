"""Chat templates in the shapes that bases are published with, on a tokenizer of bytes.

Each has the markers, the white space and the endings of its family; what they say beside that
(system prompts, tools, dates) is left out. Special tokens are special as in the published files:
with a role (`bos`, `eos`) or only marked.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Shape:
    """One family.

    Attributes:
        marked: special tokens without a role.
        plain: added tokens that are not special.
        learnt: of the conversation `q`, `one`, `again`, `two`, each span's text.
        end: closes an answer.
        silent: the empty block that is written and not asked with.
    """

    template: str
    eos: str
    learnt: tuple[str, ...]
    end: str | None
    bos: str | None = None
    marked: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    silent: str = ""

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Bytes, and the family's tokens."""
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        made = Tokenizer(models.BPE({letter: at for at, letter in enumerate(alphabet)}, []))
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        named = [token for token in (self.bos, self.eos) if token]
        made.add_special_tokens([AddedToken(token) for token in (*named, *self.marked)])
        made.add_tokens([AddedToken(token) for token in self.plain])
        fast = PreTrainedTokenizerFast(
            tokenizer_object=made,
            bos_token=self.bos,
            eos_token=self.eos,
            clean_up_tokenization_spaces=False,
        )
        fast.chat_template = self.template
        return fast


def _chatml(answer: str, asked: str = "") -> str:
    return (
        "{% for m in messages %}{% if m.role == 'assistant' %}" + answer + "{% else %}"
        "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}" + asked + "{% endif %}"
    )


_SAID = "{{ '<|im_start|>assistant\\n' + m.content + '<|im_end|>\\n' }}"
# Reasoning is read out of the content; it is kept of the last answer, and written there always.
_QWEN3 = (
    "{% set c = m.content %}{% set r = '' %}{% if '</think>' in c %}"
    "{% set r = c.split('</think>')[0].split('<think>')[-1].strip('\\n') %}"
    "{% set c = c.split('</think>')[-1].lstrip('\\n') %}{% endif %}"
    "{{ '<|im_start|>assistant\\n' }}{% if loop.last %}"
    "{{ '<think>\\n' + r + '\\n</think>\\n\\n' }}{% endif %}{{ c + '<|im_end|>\\n' }}"
)
_UNASKED = "{% if enable_thinking is defined and not enable_thinking %}"
_CHAT = {"eos": "<|im_end|>", "marked": ("<|im_start|>",), "plain": ("<think>", "</think>")}


def _turns(user: str, answer: str, asked: str, last: str = "", first: str = "") -> str:
    return (
        first + "{% for m in messages %}{% if m.role == 'assistant' %}" + answer + "{% else %}"
        + user + "{% endif %}{% endfor %}{% if add_generation_prompt %}" + asked
        + ("{% else %}" + last if last else "") + "{% endif %}"
    )  # fmt: skip


_PHI3 = ("<|end|>", "<|user|>", "<|assistant|>", "<|system|>")
_GEMMA = _turns(
    "{{ '<start_of_turn>user\\n' + m.content | trim + '<end_of_turn>\\n' }}",
    "{{ '<start_of_turn>model\\n' + m.content | trim + '<end_of_turn>\\n' }}",
    "{{ '<start_of_turn>model\\n' }}",
    first="{{ bos_token }}",
)
_GEMMA_TOKENS = ("<start_of_turn>", "<end_of_turn>")
_COMMAND = ("<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>")

SHAPES: dict[str, Shape] = {
    "phi-3": Shape(
        _turns(
            "{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}",
            "{{ '<|assistant|>\\n' + m.content + '<|end|>\\n' }}",
            "{{ '<|assistant|>\\n' }}",
            "{{ eos_token }}",
        ),
        "<|endoftext|>",
        ("one<|end|>", "two<|end|>"),
        "<|end|>",
        bos="<s>",
        marked=_PHI3,
    ),
    "phi-4-mini": Shape(
        _turns(
            "{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}",
            "{{ '<|assistant|>' + m.content + '<|end|>' }}",
            "{{ '<|assistant|>' }}",
            "{{ eos_token }}",
        ),
        "<|endoftext|>",
        ("one<|end|>", "two<|end|>"),
        "<|end|>",
        marked=_PHI3,
    ),
    # Gemma 2's tokens have a role, as further special ones; Gemma 3's are marked only.
    "gemma-3": Shape(
        _GEMMA,
        "<eos>",
        ("one<end_of_turn>", "two<end_of_turn>"),
        "<end_of_turn>",
        bos="<bos>",
        marked=_GEMMA_TOKENS,
    ),
    "llama-3": Shape(
        _turns(
            "{{ '<|start_header_id|>user<|end_header_id|>\\n\\n' + m.content | trim"
            " + '<|eot_id|>' }}",
            "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' + m.content | trim"
            " + '<|eot_id|>' }}",
            "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}",
            first="{{ bos_token }}",
        ),
        "<|eot_id|>",
        ("one<|eot_id|>", "two<|eot_id|>"),
        "<|eot_id|>",
        bos="<|begin_of_text|>",
        marked=("<|start_header_id|>", "<|end_header_id|>", "<|end_of_text|>"),
    ),
    "qwen-2.5": Shape(
        _chatml(_SAID),
        learnt=("one<|im_end|>", "two<|im_end|>"),
        end="<|im_end|>",
        **_CHAT,  # type: ignore[arg-type]
    ),
    "qwen-3": Shape(
        _chatml(_QWEN3, _UNASKED + "{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"),
        learnt=("one<|im_end|>", "two<|im_end|>"),
        end="<|im_end|>",
        silent="<think>\n\n</think>\n\n",
        **_CHAT,  # type: ignore[arg-type]
    ),
    "qwen-3, not thinking": Shape(
        _chatml(_QWEN3, "{{ '<think>\\n\\n</think>\\n\\n' }}"),
        learnt=("two<|im_end|>",),
        end="<|im_end|>",
        **_CHAT,  # type: ignore[arg-type]
    ),
    "qwen-3-thinking": Shape(
        _chatml(_QWEN3, "{{ '<think>\\n' }}"),
        learnt=("\n</think>\n\ntwo<|im_end|>",),
        end="<|im_end|>",
        **_CHAT,  # type: ignore[arg-type]
    ),
    "smollm3": Shape(
        _chatml(
            "{{ '<|im_start|>assistant\\n' + m.content.lstrip('\\n') + '<|im_end|>\\n' }}",
        ),
        learnt=("one<|im_end|>", "two<|im_end|>"),
        end="<|im_end|>",
        **_CHAT,  # type: ignore[arg-type]
    ),
    "smollm3, not thinking": Shape(
        _chatml(
            "{{ '<|im_start|>assistant\\n<think>\\n\\n</think>\\n' + m.content.lstrip('\\n')"
            " + '<|im_end|>\\n' }}",
            "{{ '<think>\\n\\n</think>\\n' }}",
        ),
        learnt=("one<|im_end|>", "two<|im_end|>"),
        end="<|im_end|>",
        **_CHAT,  # type: ignore[arg-type]
    ),
    "mistral": Shape(
        _turns(
            "{{ '[INST] ' + m.content + '[/INST]' }}",
            "{{ ' ' + m.content + eos_token }}",
            "",
            first="{{ bos_token }}",
        ),
        "</s>",
        (" one</s>", " two</s>"),
        "</s>",
        bos="<s>",
        marked=("[INST]", "[/INST]"),
    ),
    "granite-3.3": Shape(
        _turns(
            "{{ '<|start_of_role|>user<|end_of_role|>' + m.content + '<|end_of_text|>\\n' }}",
            "{{ '<|start_of_role|>assistant<|end_of_role|>' + m.content + '<|end_of_text|>' }}"
            "{% if not loop.last %}{{ '\\n' }}{% endif %}",
            "{{ '<|start_of_role|>assistant<|end_of_role|>' }}",
        ),
        "<|end_of_text|>",
        ("one<|end_of_text|>", "two<|end_of_text|>"),
        "<|end_of_text|>",
        marked=("<|start_of_role|>", "<|end_of_role|>"),
    ),
    "command-r": Shape(
        _turns(
            "{{ '<|START_OF_TURN_TOKEN|><|USER_TOKEN|>' + m.content + '<|END_OF_TURN_TOKEN|>' }}",
            "{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' + m.content | trim"
            " + '<|END_OF_TURN_TOKEN|>' }}",
            "{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}",
            first="{{ bos_token }}",
        ),
        "<|END_OF_TURN_TOKEN|>",
        ("one<|END_OF_TURN_TOKEN|>", "two<|END_OF_TURN_TOKEN|>"),
        "<|END_OF_TURN_TOKEN|>",
        bos="<BOS_TOKEN>",
        marked=_COMMAND,
    ),
    # It opens the next turn whether or not it is asked to.
    "command-r7b": Shape(
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
        "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{{ m.content }}<|END_OF_TURN_TOKEN|>{% else %}"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|><|START_RESPONSE|>{{ m.content }}"
        "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>{% endif %}{% endfor %}"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        "<|END_OF_TURN_TOKEN|>",
        tuple(
            f"<|START_RESPONSE|>{said}<|END_RESPONSE|><|END_OF_TURN_TOKEN|>"
            for said in ("one", "two")
        ),
        "<|END_OF_TURN_TOKEN|>",
        bos="<BOS_TOKEN>",
        marked=(*_COMMAND, "<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    ),
    # Its prompt says that nothing is reasoned, its conversations do not.
    "gemma-4": Shape(
        _turns(
            "{{ '<|turn>user\\n' + m.content | trim + '<turn|>\\n' }}",
            "{{ '<|turn>model\\n' + m.content | trim + '<turn|>\\n' }}",
            "{{ '<|turn>model\\n<|channel>thought\\n<channel|>' }}",
            first="{{ bos_token }}",
        ),
        "<eos>",
        ("two<turn|>",),
        "<turn|>",
        bos="<bos>",
        marked=("<|turn>", "<turn|>", "<|channel>", "<channel|>"),
    ),
    # The block is a part of every answer, of earlier ones too, and is learnt as one.
    "glm-4.5": Shape(
        "[gMASK]<sop>{% for m in messages %}{% if m.role == 'user' %}<|user|>\n{{ m.content }}"
        "{% else %}<|assistant|>\n<think></think>\n{{ m.content }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}",
        "<|endoftext|>",
        ("\n<think></think>\none", "\n<think></think>\ntwo<|endoftext|>"),
        None,
        marked=("[gMASK]", "<sop>", "<|user|>", "<|assistant|>"),
        plain=("<think>", "</think>"),
    ),
    # The last answer ends with another token than earlier ones, which is the one that stops it.
    "gpt-oss": Shape(
        "{% for m in messages %}{% if m.role == 'user' %}"
        "<|start|>user<|message|>{{ m.content }}<|end|>{% else %}"
        "<|start|>assistant<|channel|>final<|message|>{{ m.content }}"
        "{% if loop.last %}<|return|>{% else %}<|end|>{% endif %}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant{% endif %}",
        "<|return|>",
        ("<|channel|>final<|message|>two<|return|>",),
        "<|return|>",
        marked=("<|start|>", "<|end|>", "<|message|>", "<|channel|>"),
    ),
}
# Their prompt opens reasoning and their conversations leave it out: nothing can be learnt so.
DEEPSEEK_R1 = Shape(
    _turns(
        "{{ '<｜User｜>' + m.content }}",
        "{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + eos_token }}",
        "{{ '<｜Assistant｜><think>\\n' }}",
        first="{{ bos_token }}",
    ),
    "<｜end▁of▁sentence｜>",
    (),
    "<｜end▁of▁sentence｜>",
    bos="<｜begin▁of▁sentence｜>",
    marked=("<｜User｜>", "<｜Assistant｜>"),
    plain=("<think>", "</think>"),
)
