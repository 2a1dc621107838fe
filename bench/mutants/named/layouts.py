"""How a micro batch is laid out and projected: what must not change what is learnt."""

from __future__ import annotations

from bench.mutants.mutant import Named

_PROJECTION = "builders/training/projection.py"
_OF_PROJECTION = "tests/builders/training/test_projection.py"
_PARTS = f"{_OF_PROJECTION}::test_parts_are_what_the_model_says_altogether"
_NEVER = f"{_OF_PROJECTION}::test_logits_of_a_micro_batch_are_never_there_together"

_PROJECTED = (
    Named(
        "logits-are-together-after-all",
        _PROJECTION,
        "            if self.most is None or len(hidden) <= self.most:\n",
        "            if True:\n",
        (_NEVER,),
        "a plan would count a part of the logits, and all of them would be there",
    ),
    Named(
        "a-part-is-computed-twice-where-nothing-of-it-is-trained",
        _PROJECTION,
        "        if self._trained or hidden.dtype == torch.float16:\n",
        "        if True:\n",
        (_NEVER,),
        "the output projection of every LoRA would be multiplied once more in every step",
    ),
    Named(
        "a-trained-projection-has-no-gradient",
        _PROJECTION,
        "self._trained = any(p.requires_grad for p in (*outer, *output.parameters()))",
        "self._trained = False",
        (_PARTS, f"{_OF_PROJECTION}::test_an_adapted_projection_is_trained_in_parts_too"),
        "of a model that is trained whole the embeddings would learn half of what they should",
    ),
    Named(
        "every-column-has-the-first-ones-gradient",
        _PROJECTION,
        "torch.autograd.grad(column.sum(), given, retain_graph=True)[0] for column",
        "torch.autograd.grad(columns[0].sum(), given, retain_graph=True)[0] for column",
        (_PARTS,),
        "label smoothing and rewards would be learnt by the gradient of the label alone",
    ),
    Named(
        "every-part-reads-the-first-ones-labels",
        _PROJECTION,
        "                return read(self._logits(part, tail), at)\n",
        "                return read(self._logits(part, tail), slice(0, len(part)))\n",
        (_PARTS,),
        "beyond the first part a model would learn other tokens than its rows have",
    ),
    Named(
        "all-columns-are-projected",
        _PROJECTION,
        "hidden = found.hidden = given[0][kept]",
        "hidden = found.hidden = given[0].flatten(0, 1)",
        (_PARTS,),
        "padding would be learnt",
    ),
    Named(
        "a-model-is-not-asked-whether-its-parts-are-its-own",
        _PROJECTION,
        "    if not bool((apart <= ",
        "    if False and not bool((apart <= ",
        (f"{_OF_PROJECTION}::test_a_model_that_cannot_be_asked_in_parts_is_found_out",),
        "a base that scales its logits elsewhere would be trained on others than it is served with",
    ),
    Named(
        "a-decoder-stays-borrowed",
        _PROJECTION,
        "            del decoder.forward\n",
        "            pass\n",
        (f"{_OF_PROJECTION}::test_a_model_is_as_it_was_afterwards",),
        "after the first step every row would be an empty one",
    ),
    Named(
        "a-part-is-planned-as-large-as-all",
        "builders/plan/memory.py",
        "        together = min(together, logits_together(shape.vocab, device))\n",
        "        pass\n",
        ("tests/builders/plan/test_memory.py::test_logits_are_there_a_few_positions_at_a_time",),
        "long rows over a large vocabulary would be refused where they fit",
    ),
)

NAMED = (*_PROJECTED,)
