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

_PACKING = "builders/plan/packing.py"
_OF_PACKING = "tests/builders/plan/test_packing.py"
_BATCH = "builders/objectives/batch.py"
_OF_BATCH = "tests/builders/objectives/test_batch.py"
_OF_TRAIN = "tests/builders/training/test_train.py"
_PACKED = (
    Named(
        "rows-go-where-there-is-most-room",
        _PACKING,
        "        at = bisect_left(rooms, length)\n        if at == len(rooms):\n",
        "        at = len(rooms) - 1\n        if at < 0 or rooms[at] < length:\n",
        (f"{_OF_PACKING}::test_the_sequences_are_those_of_trl",),
        "more sequences, each with more room that is computed for nothing",
    ),
    Named(
        "a-full-sequence-is-still-offered",
        _PACKING,
        "            if not having[room]:\n                del rooms[at]\n",
        "",
        (f"{_OF_PACKING}::test_every_row_is_in_one_sequence_and_none_is_longer_than_it_may_be",),
        "the plan would end in an error of its own",
    ),
    Named(
        "a-row-too-long-is-put-in-all-the-same",
        _PACKING,
        "        if length > most:\n",
        "        if length > 2 * most:\n",
        (f"{_OF_PACKING}::test_the_least_room_that_holds_a_row_is_taken",),
        "a sequence would be longer than the memory that was planned for",
    ),
    Named(
        "a-plan-counts-rows-where-the-training-counts-sequences",
        "builders/plan/plan.py",
        "        data = in_packs(data, packed_to)\n",
        "        pass\n",
        (f"{_OF_PACKING}::test_a_plan_counts_sequences_where_it_counted_rows",),
        "an epoch would be planned with steps that it does not have",
    ),
    Named(
        "what-is-filled-is-left-out-of-the-digest",
        "builders/plan/plan.py",
        '({"packed_to": self.packed_to} if self.packed_to else {})',
        "{}",
        (f"{_OF_PACKING}::test_the_length_that_is_filled_is_part_of_what_is_trained",),
        "other batches would count as the same training",
    ),
    Named(
        "what-fills-a-row-goes-on-with-its-last-sequence",
        _BATCH,
        "positions.append(torch.cat((row.position_ids, torch.arange(left)[None]), dim=1))",
        "positions.append(_filled(row.position_ids, length, 0))",
        (f"{_OF_BATCH}::test_rows_of_several_sequences_are_filled_up_with_what_nobody_sees",),
        "as many sequences as there is filling: the mask would be made of them one by one",
    ),
    Named(
        "every-row-begins-with-the-first-sequence",
        _BATCH,
        "    owners = joined(lambda row: row.owners, 0) + first[:, None]\n",
        "    owners = joined(lambda row: row.owners, 0)\n",
        (f"{_OF_BATCH}::test_scores_do_not_depend_on_the_layout",),
        "scores would belong to rows of other sequences",
    ),
    Named(
        "packed-sequences-are-one-long-row",
        "builders/training/layout.py",
        "        forward.side_by_side = True\n",
        "        pass\n",
        (f"{_OF_TRAIN}::test_rows_that_fill_sequences_are_learnt_as_they_are_alone",),
        "a mask of all sequences of a micro batch, its square in memory and time",
    ),
    Named(
        "what-is-packed-is-not-tried",
        "builders/training/abilities.py",
        "        if not sizes:\n",
        "        if sizes:\n",
        (f"{_OF_TRAIN}::test_rows_that_see_each_other_in_this_base_are_not_put_together",),
        "rows would learn from one another in bases whose mask knows no positions",
    ),
)

NAMED = (*_PROJECTED, *_PACKED)
