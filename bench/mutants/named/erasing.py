"""Defects of erasures: somebody's text would stay, come back, or have been learnt by nobody."""

from __future__ import annotations

from bench.mutants.mutant import Named

_DATASETS = "tests/builders/data/test_datasets.py"
_STORE = "tests/registry/datasets/test_store.py"
_REVIEW = "tests/builders/reviewing/test_review.py"
_NAMED = f"{_DATASETS}::test_whoever_learnt_a_row_is_named_however_much_was_erased_before"
_NO_DATASET = f"{_DATASETS}::test_an_erased_row_comes_back_in_no_dataset"
_NO_BUILD = f"{_DATASETS}::test_an_erased_row_comes_back_in_no_build"
_TEXTS = f"{_DATASETS}::test_files_of_releases_that_say_what_an_erased_row_says_go_with_it"

NAMED = (
    Named(
        "who-learnt-from-an-erased-version-is-forgotten",
        "builders/data/erasing.py",
        "had |= gone is not None and any(one in marks for one in gone)",
        "had |= False",
        (_NAMED,),
        "the more was erased, the fewer of those who learnt a row would be named",
    ),
    Named(
        "what-went-on-from-a-learner-is-not-named",
        "builders/data/erasing.py",
        "*origins.descendants([one.digest for one in had], but=_TESTED),",
        "",
        (_NAMED,),
        "a release continued from one that learnt a patient's row would be served on",
    ),
    Named(
        "what-was-tested-is-said-to-have-learnt",
        "registry/index/links.py",
        "        query = query.where(_links.c.key != but)\n",
        "        pass\n",
        (_NAMED,),
        "releases that learnt nothing of a row would be built again for it",
    ),
    Named(
        "rows-of-an-unknown-version-are-nobodys",
        "builders/data/erasing.py",
        "                unknown |= gone is None\n",
        "",
        (f"{_DATASETS}::test_what_was_erased_before_it_was_noted_is_said_to_be_unknown",),
        "whoever learnt from what was erased long ago would not be named",
    ),
    Named(
        "an-erased-row-is-added-again",
        "builders/data/adding.py",
        "    came_back = erased_in(registry, splits)\n",
        "    came_back = erased_in(registry, {})\n",
        (_NO_DATASET,),
        "the old file with one row more would bring back what somebody had erased",
    ),
    Named(
        "an-erased-row-is-built-from-its-file",
        "builders/data/gates/sealed.py",
        "    found |= {index: str(row) for index, row in erased_among(train, context.erased)}\n",
        "",
        (_NO_BUILD,),
        "a manifest that names the old file would learn what somebody had erased",
    ),
    Named(
        "an-erased-row-may-judge",
        "builders/data/gates/sealed.py",
        '    for split in ("validation", "test"):\n',
        "    for split in ():\n",
        (_NO_BUILD,),
        "an erased row would be printed into the predictions of every later release",
    ),
    Named(
        "a-system-message-makes-a-row-another",
        "builders/data/gates/erased.py",
        'if len(turns) > 1 and turns[0]["role"] == "system":',
        'if turns and turns[0]["role"] == "nobody":',
        (_NO_BUILD,),
        "any manifest with `data.system` would learn erased rows",
    ),
    Named(
        "an-erased-row-is-replayed",
        "builders/data/replayed.py",
        "        erased = [*erased_among(rows, erased_here(registry, as_of=earlier.as_of))]\n",
        "",
        (_NO_BUILD,),
        "what somebody had erased would be learnt again as general text",
    ),
    Named(
        "an-erased-row-is-learnt-by-lineage",
        "builders/data/ancestry.py",
        "    erased -= sealed | tested\n",
        "    erased = set()\n",
        (
            "tests/builders/data/test_replay.py"
            "::test_what_was_erased_since_is_learnt_by_nobody_again",
        ),
        "a release that replays its lineage would learn a row again that was erased since",
    ),
    Named(
        "an-erasure-changes-what-was-built-before",
        "builders/data/gates/erased.py",
        "if until is None or row.at <= until}",
        "if row}",
        (_NO_BUILD,),
        "no release with an erased row could be continued with its lineage any more",
    ),
    Named(
        "an-erasure-that-runs-beside-is-not-seen",
        "registry/datasets/store.py",
        "if marks and not marks.isdisjoint(",
        "if not marks and not marks.isdisjoint(",
        (f"{_STORE}::test_rows_that_are_erased_while_they_are_added_are_not_listed",),
        "a row erased while its file was being added would be listed for good",
    ),
    Named(
        "predictions-outlive-their-row",
        "builders/data/erasing.py",
        "            done = registry.upkeep.erase(text.blob, who=who, why=why)\n",
        "            done = registry.upkeep.look_at_erasure(text.blob)\n",
        (_TEXTS,),
        "prompt and answers of an erased test row would be shown and drawn for reviews",
    ),
    Named(
        "only-live-releases-lose-their-reviews",
        "registry/lifecycle/erase.py",
        'if role_of(one.path) == "predictions"}',
        'if role_of(one.path) == "predictions" and not one.deleted}',
        (f"{_REVIEW}::test_a_review_goes_with_a_purged_release_and_with_bytes_of_a_deleted_one",),
        "a deleted release's answers could be read in a review, and no command would remove it",
    ),
    Named(
        "a-purge-forbids-the-next-release",
        "registry/lifecycle/purge.py",
        "    kept = {*shared, *(file.blob for file in files if is_beside_weights(file.path))}\n",
        "    kept = {*shared}\n",
        (
            "tests/registry/lifecycle/test_purge.py"
            "::test_the_next_release_of_the_same_settings_is_published_with_the_files_that_say_them",
        ),
        "what remains after a withdrawn consent could not be trained on with the same settings",
    ),
    Named(
        "what-a-purge-forbade-stays-forbidden",
        "registry/index/migrations.py",
        '        connection.execute(gone, {"blob": blob})\n',
        "        pass\n",
        (
            "tests/registry/lifecycle/test_purge.py"
            "::test_what_an_earlier_versions_purge_forbade_is_allowed_again[sqlite]",
        ),
        "after an upgrade each build of a purged release's settings would be refused at its end",
        source="known limit of purges, mended",
    ),
    Named(
        "what-was-erased-alone-comes-back",
        "registry/index/migrations.py",
        "            AND also.who = gone.who AND also.why = gone.why)",
        "            )",
        (
            "tests/registry/lifecycle/test_purge.py"
            "::test_what_an_earlier_versions_purge_forbade_is_allowed_again[sqlite]",
        ),
        "a key that was erased out of a configuration could be published again after an upgrade",
        source="known limit of purges, mended",
    ),
    Named(
        "a-purge-leaves-reviews",
        "registry/lifecycle/purge.py",
        "    reviews = (*reviews, *remove_reviews(home, [found.digest]))\n",
        "",
        (
            "tests/registry/lifecycle/test_purge.py"
            "::test_reviews_of_its_answers_go_whatever_became_of_its_predictions",
        ),
        "prompts and both answers would stay readable after everything else was purged",
    ),
    Named(
        "a-torn-review-stops-all",
        "builders/reviewing/review.py",
        "            broken.append(error.message)\n",
        "            raise\n",
        (f"{_REVIEW}::test_a_review_that_cannot_be_read_stops_no_other_and_no_erasure",),
        "one kill at the wrong moment would stop every list and ranking of reviews",
    ),
    Named(
        "a-published-build-keeps-its-rows",
        "builders/building/record.py",
        "for left in (*_PUBLISHED, *_OF_ROWS)]",
        "for left in _PUBLISHED]",
        ("tests/builders/building/test_erased.py::test_a_published_build_keeps_no_rows",),
        "rows would stay as token ids on every machine that ever built from them",
    ),
    Named(
        "a-leftover-folder-fails-a-published-build",
        "builders/building/record.py",
        "                failed = failed or error",
        "                raise",
        (
            "tests/builders/building/test_erased.py"
            "::test_what_cannot_be_removed_ends_no_build_that_is_published",
        ),
        "a release would be there, and its build be said to have failed; the rest would stay too",
    ),
    Named(
        "builds-that-began-from-erased-rows-stay",
        "builders/building/erased.py",
        "if read & set(datasets) or",
        "if",
        (
            "tests/builders/building/test_erased.py"
            "::test_builds_are_found_by_their_datasets_and_by_their_trainings",
        ),
        "an unfinished build would go on with rows that somebody had erased",
    ),
    Named(
        "a-build-is-emptied-while-it-trains",
        "builders/building/erased.py",
        "            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            fcntl.flock(file, fcntl.LOCK_UN | fcntl.LOCK_NB)\n",
        (
            "tests/builders/building/test_erased.py"
            "::test_what_is_being_built_is_refused_and_nothing_goes",
        ),
        "its training would go on with the rows, and publish what it learnt of them",
    ),
    Named(
        "a-build-begins-while-it-is-emptied",
        "builders/building/erased.py",
        "            held.enter_context(_idle(folder))\n",
        "            require_idle([folder])\n",
        (
            "tests/builders/building/test_erased.py"
            "::test_no_build_begins_in_a_folder_while_it_is_emptied",
        ),
        "rows would be written behind the erasure, or a build lose its files under its hands",
    ),
    Named(
        "builds-of-a-purged-release-stay",
        "adapterworks/cli/delete.py",
        "    erase_builds(folders)\n",
        "    pass\n",
        (
            "tests/builders/building/test_erased.py"
            "::test_the_folders_of_its_builds_go_with_a_purged_release",
        ),
        "what it sampled of the rows would stay when the release is gone",
    ),
    Named(
        "a-refused-purge-empties-builds",
        "adapterworks/cli/delete.py",
        "    require_idle(folders)\n    return folders\n",
        "    require_idle(folders)\n    _empty(folders)\n    return folders\n",
        (
            "tests/builders/building/test_erased.py"
            "::test_a_release_that_is_not_purged_keeps_its_builds",
        ),
        "a purge that an alias forbids would take what its builds have sampled",
    ),
)
