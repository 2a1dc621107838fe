"""What runs inside vLLM: rows by adapter, weights laid out anew, virtual tokens in front."""

from __future__ import annotations

from bench.mutants.mutant import Named

_PLUGIN = "gateway/engine_plugin"
_FEW = f"{_PLUGIN}/few_rows.py"
_FRONT = f"{_PLUGIN}/front.py"
_GROUPING = f"{_PLUGIN}/grouping.py"
_POSITIONS = f"{_PLUGIN}/positions.py"
_PREFIX = f"{_PLUGIN}/prefix_connector.py"
_PRODUCTS = f"{_PLUGIN}/products.py"
_SCORES = f"{_PLUGIN}/prompt_scores.py"
_SERVABLES = f"{_PLUGIN}/servables.py"
_VIRTUAL = f"{_PLUGIN}/virtual_requests.py"
_WEIGHTS = f"{_PLUGIN}/weights.py"
_WRAPPER = f"{_PLUGIN}/cpu_lora.py"
_TESTS = "tests/gateway/engine_plugin"
_OF_FEW = f"{_TESTS}/test_few_rows.py"
_OF_GROUPING = f"{_TESTS}/test_grouping.py"
_OF_PRODUCTS = f"{_TESTS}/test_products.py"
_OF_REQUESTS = f"{_TESTS}/test_requests.py"
_OF_SCORES = f"{_TESTS}/test_prompt_scores.py"
_OF_STOCK = f"{_TESTS}/test_stock_path.py"

NAMED = (
    Named(
        "rows-of-the-base-get-an-adapter",
        _GROUPING,
        "        if slot >= 0:\n",
        "        if slot >= -1:\n",
        (f"{_OF_GROUPING}::test_rows_are_partitioned_by_slot",),
        "the base would answer as whichever adapter is in the last slot (vLLM #48421)",
    ),
    Named(
        "a-run-begins-where-the-last-one-began",
        _GROUPING,
        "        start = stop\n",
        "        start = start\n",
        (f"{_OF_GROUPING}::test_rows_are_partitioned_by_slot",),
        "one client's adapter would be applied to another one's rows",
    ),
    Named(
        "many-scattered-rows-count-as-few",
        _GROUPING,
        "(scattered if len(rows) >= LONG else few)",
        "few",
        (f"{_OF_GROUPING}::test_rows_are_partitioned_by_slot",),
        "a large batch would be computed by the kernel for decoding, at a tenth of the speed",
    ),
    Named(
        "a-slot-that-was-emptied-is-still-used",
        _WEIGHTS,
        "        self.ranks[slot], self.used[slot] = 0, False",
        "        pass",
        (f"{_OF_PRODUCTS}::test_a_slot_reloaded_during_a_batch_is_used_at_once",
         f"{_OF_PRODUCTS}::test_grouped_equals_stock"),
        "products with nothing would be computed for every row",
        quick=False,
    ),
    Named(
        "a-smaller-adapter-keeps-the-rank-before-it",
        _WEIGHTS,
        "        self.ranks[slot] = max((",
        "        self.ranks[slot] = min((",
        (f"{_OF_PRODUCTS}::test_a_slot_reloaded_during_a_batch_is_used_at_once",
         f"{_OF_FEW}::test_every_type_and_rank_is_added_in_place"),
        "q/k/v of different ranks would be cut to the smallest",
        quick=False,
    ),
    Named(
        "a-reloaded-slot-keeps-the-products-before-it",
        _WEIGHTS,
        "        weights.note(index, lora_a, lora_b)\n        changed()\n",
        "        weights.note(index, lora_a, lora_b)\n",
        (f"{_OF_PRODUCTS}::test_a_slot_reloaded_during_a_batch_is_used_at_once",),
        "requests under way would be answered by half of the old and half of the new adapter",
        quick=False,
    ),
    Named(
        "a-new-batch-keeps-the-last-ones-products",
        _WRAPPER,
        "        self._batch = None if groups.empty else Batch(groups, self.device)\n"
        "        self._products.clear()\n",
        "        self._batch = None if groups.empty else Batch(groups, self.device)\n",
        (f"{_OF_PRODUCTS}::test_slots_in_another_order_than_their_rows",
         f"{_OF_PRODUCTS}::test_grouped_equals_stock"),
        "rows would be answered by the adapters of who stood there a step before",
        quick=False,
    ),
    Named(
        "rows-of-the-base-get-an-adapters-logits",
        _WRAPPER,
        "rows = (self.sampler_indices == slot).nonzero().squeeze(1)",
        "rows = (self.sampler_indices <= slot).nonzero().squeeze(1)",
        (f"{_OF_PRODUCTS}::test_vllm_48421_logits_of_base_rows_stay_the_bases",),
        "the base would answer with somebody's output layer",
        quick=False,
    ),
    Named(
        "rows-of-the-base-get-an-adapter-where-vllm-multiplies",
        _WRAPPER,
        "_as_before(y, self.token_lora_indices):\n                super().add_lora_linear",
        "_as_before(y, self.token_lora_indices[:0]):\n                super().add_lora_linear",
        (_OF_STOCK,),
        "the base would answer as the adapter in the last slot",
        quick=False,
    ),
    Named(
        "a-scale-is-left-out-of-our-products",
        _WRAPPER,
        "and scale == 1.0 and not kwargs",
        "and not kwargs",
        (f"{_OF_STOCK}::test_every_sum_is_the_same_whoever_makes_it",),
        "an adapter would be added with another weight than vLLM asked for",
        quick=False,
    ),
    Named(
        "rows-are-not-checked-before-the-kernel",
        _PRODUCTS,
        "if x.size(0) < self._least or y.size(0) < self._least:",
        "if x.size(0) < self._least and y.size(0) < self._least:",
        (f"{_OF_FEW}::test_fewer_rows_than_the_batch_has_are_no_memory_fault",),
        "the kernel would write behind the end of the batch",
        quick=False,
    ),
    Named(
        "rows-are-cut-off-when-they-are-divided",
        _PRODUCTS,
        "most = max(1, -(-total // threads))",
        "most = max(1, total // threads)",
        (_OF_FEW,),
        "one thread would have work for two",
        quick=False,
    ),
    Named(
        "a-kernel-adds-the-first-slice-to-all",
        _FEW,
        "lo, hi = offsets[s], offsets[s + 1]",
        "lo, hi = offsets[0], offsets[s + 1]",
        (f"{_OF_FEW}::test_every_type_and_rank_is_added_in_place",),
        "queries would get what belongs to keys",
        quick=False,
    ),
    Named(
        "bfloat16-is-cut-off-instead-of-rounded",
        _FEW,
        "np.uint32(bits + np.uint32(0x7FFF) + odd)",
        "np.uint32(bits)",
        (f"{_OF_FEW}::test_bfloat16_is_computed_in_float32_and_rounded_once",),
        "every activation would be a little too small, in every layer",
        quick=False,
    ),
    Named(
        "paths-are-found-besides-digests",
        _SERVABLES,
        "_DIGEST.fullmatch(digest)",
        "_DIGEST.search(digest)",
        (f"{_OF_REQUESTS}::test_an_adapter_is_found_by_its_digest_alone",),
        "what is no digest would be taken for one",
    ),
    Named(
        "the-scheduler-looks-for-an-adapters-file",
        _SERVABLES,
        "if file is None or TOKENS not in wanted:",
        "if True:",
        (
            f"{_OF_REQUESTS}"
            "::test_an_adapter_that_goes_once_it_was_let_in_fails_its_own_request_alone",
        ),
        "one folder that is removed would end the engine, for all clients",
    ),
    Named(
        "an-answer-may-outgrow-its-context",
        _FRONT,
        "min(sampling.max_tokens or room, room)",
        "sampling.max_tokens or room",
        (f"{_OF_REQUESTS}::test_an_answer_is_held_to_the_room_that_is_left",),
        "the engine would stop at an assertion, for all clients",
    ),
    Named(
        "virtual-tokens-need-no-room",
        _FRONT,
        "max_model_len - len(request.prompt_token_ids) - adapter.count",
        "max_model_len - len(request.prompt_token_ids)",
        (f"{_OF_REQUESTS}::test_an_answer_is_held_to_the_room_that_is_left",),
        "the engine would stop at an assertion, for all clients",
    ),
    Named(
        "a-lora-and-virtual-tokens-are-combined",
        _FRONT,
        "if request.lora_request is not None:",
        "if False:",
        (f"{_OF_REQUESTS}::test_what_cannot_be_answered_is_refused",),
        "an answer would be made by two adapters of which one is billed and proved",
    ),
    Named(
        "virtual-tokens-are-billed",
        _VIRTUAL,
        "super().set(num_prompt_tokens - self._virtual,",
        "super().set(num_prompt_tokens,",
        (f"{_OF_REQUESTS}::test_only_the_clients_own_tokens_are_counted",),
        "clients would pay for tokens that they did not send",
    ),
    Named(
        "adapters-share-cached-blocks",
        _VIRTUAL,
        "request.cache_salt = f\"{adapter.digest}:{request.cache_salt or ''}{own}\"",
        "request.cache_salt = request.cache_salt",
        (f"{_OF_REQUESTS}::test_virtual_tokens_come_first_and_in_the_hash",),
        "a prompt would be answered behind another adapter's prefix",
    ),
    Named(
        "tenants-share-cached-blocks-of-an-adapter",
        _VIRTUAL,
        "{adapter.digest}:{request.cache_salt or ''}{own}",
        "{adapter.digest}{own}",
        (f"{_OF_REQUESTS}::test_virtual_tokens_come_first_and_in_the_hash",),
        "the time of an answer would tell one tenant what another one asked",
    ),
    Named(
        "what-is-cached-of-a-scored-prompt-is-not-scored",
        _VIRTUAL,
        'own = f":{request.request_id}" if _scored(request) else ""',
        'own = ""',
        (f"{_OF_REQUESTS}::test_nothing_of_a_prompt_that_is_scored_comes_from_the_cache",),
        "the second proof of a prefix would be compared with whatever memory holds",
    ),
    Named(
        "a-probe-may-be-read-from-the-cache",
        _FRONT,
        "sampling.skip_reading_prefix_cache = True",
        "sampling.skip_reading_prefix_cache = False",
        (f"{_OF_REQUESTS}::test_a_request_that_names_positions_asks_for_the_prompts_scores",),
        "positions that were in the cache would be compared with whatever memory holds",
    ),
    Named(
        "positions-behind-the-prompt-are-taken",
        _POSITIONS,
        "if type(n) is int and 0 < n < tokens",
        "if type(n) is int and 0 < n",
        (f"{_OF_REQUESTS}::test_positions_that_a_prompt_has_not_are_a_bad_request",),
        "the engine would stop at an index, for all clients",
    ),
    Named(
        "engines-that-were-not-mended-are-asked-for-scores",
        _FRONT,
        "        config.lora_config is not None\n        and ",
        "        ",
        (f"{_OF_REQUESTS}::test_prompts_are_scored_where_the_worker_was_mended",),
        "positions would be answered with all of the prompt's",
    ),
    Named(
        "all-prompts-are-scored-with-the-first-adapter",
        _SCORES,
        "loras = tuple(row.lora for row in rows)",
        "loras = tuple(rows[0].lora for row in rows)",
        (f"{_OF_SCORES}::test_every_request_is_scored_with_its_own_adapter",),
        "of two tenants' prompts in one batch one would be scored by the other's adapter",
        quick=False,
    ),
    Named(
        "virtual-tokens-are-scored",
        _SCORES,
        "first = request.num_computed_tokens + 1 - virtual",
        "first = request.num_computed_tokens + 1",
        (f"{_OF_SCORES}::test_positions_are_the_clients_where_virtual_tokens_stand_in_front",),
        "a prefix would be proved by the scores of other tokens",
        quick=False,
    ),
    Named(
        "a-table-is-given-before-it-is-full",
        _SCORES,
        "if request.num_computed_tokens + scheduled >= len(request.prompt_token_ids):",
        "if True:",
        (f"{_OF_SCORES}::test_chunks_fill_one_table_which_is_given_when_the_prompt_has_ended",),
        "long prompts would be scored with whatever memory held",
        quick=False,
    ),
    Named(
        "virtual-tokens-are-taken-without-the-plugin",
        _PREFIX,
        "        entry.require()\n",
        "",
        (f"{_OF_REQUESTS}::test_without_the_plugin_nothing_takes_virtual_tokens",),
        "a request that nothing has checked would end the engine for everybody",
    ),
    Named(
        "a-prefix-is-written-from-its-beginning-again",
        _PREFIX,
        'key = tensors[f"layers.{index}.key"][load.start : load.stop]',
        'key = tensors[f"layers.{index}.key"][: load.stop - load.start]',
        (f"{_OF_REQUESTS}::test_each_token_is_written_into_its_own_place",),
        "who shares cached blocks would get the first tokens' keys twice",
    ),
    Named(
        "a-prefix-is-written-one-block-on",
        _PREFIX,
        "slots = blocks[positions // self._block_size] * self._block_size",
        "slots = (blocks[positions // self._block_size] + 1) * self._block_size",
        (f"{_OF_REQUESTS}::test_each_token_is_written_into_its_own_place",),
        "another request's cache would be overwritten",
    ),
    Named(
        "blocks-that-failed-once-fail-for-ever",
        _PREFIX,
        "failed, self._failed = self._failed, set()",
        "failed = self._failed",
        (f"{_OF_REQUESTS}::test_what_cannot_be_loaded_fails_its_own_blocks_once",),
        "one damaged file would fail everybody's requests until a restart",
    ),
    Named(
        "the-adapter-used-last-is-dropped",
        _PREFIX,
        "        self._tensors.move_to_end(digest)\n",
        "",
        (f"{_OF_REQUESTS}::test_the_adapters_used_last_are_kept",),
        "a busy adapter would be read from disk again and again",
    ),
)  # fmt: skip
