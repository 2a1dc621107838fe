"""Store: nothing is erased by mistake, nothing private leaves, nothing of a stranger decides."""

from __future__ import annotations

from bench.mutants.mutant import Named

_IDENTITY = "registry/lifecycle/identity.py"
_GC = "registry/lifecycle/gc.py"
_REBUILD = "registry/lifecycle/rebuild.py"
_PUBLISH = "registry/lifecycle/publish.py"
_UPKEEP = "registry/facets/upkeep.py"
_LOCAL = "registry/blobs/local.py"
_BACKUP = "registry/index/backup.py"
_PRIVATE = "registry/remotes/private.py"
_PUSH = "registry/remotes/hub/push.py"
_OF_PRIVATE = "tests/registry/remotes/hub/test_private.py"
_PULL = "registry/remotes/arriving.py"
_LEAVING = "registry/remotes/leaving.py"
_IMPORTED = "registry/imports/release.py"
_LOOKUP = "registry/index/lookup.py"
_OF_PULLING = "tests/registry/remotes/hub/test_pulling.py"
_OF_IMPORTED = "tests/registry/imports/test_release.py"
_OF_VERSIONS = "tests/registry/index/test_versions.py"
_ENGINES = "gateway/engines/plan.py"
_OF_ENGINES = "tests/gateway/engines/test_served_releases.py"
_CHAIN = "registry/index/chain.py"
_OF_CHAIN = "tests/registry/index/test_chain.py"
_OWN = "tests/registry/lifecycle/test_own_store.py"
_OF_BACKUP = "tests/registry/index/test_backup.py"

NAMED: tuple[Named, ...] = (
    Named(
        "another-index-collects",
        _UPKEEP,
        "        else:\n            self._catalog.require_own_store()\n        return gc.collect(",
        "        return gc.collect(",
        (f"{_OWN}::test_the_index_of_another_registry_is_refused_and_verify_says_so",),
        "a wrong variable in a cron job would erase another registry's store",
    ),
    Named(
        "ids-are-not-compared",
        _IDENTITY,
        "    if own != there:\n        raise",
        "    if False:\n        raise",
        (f"{_OWN}::test_the_index_of_another_registry_is_refused_and_verify_says_so",),
        "a wrong variable in a cron job would erase another registry's store",
    ),
    Named(
        "a-blank-index-takes-a-full-store",
        _IDENTITY,
        "if blank and next(iter(blobs.list()), None) is not None:",
        "if False:",
        (f"{_OWN}::test_a_blank_index_does_not_take_a_store_that_has_no_id_yet",),
        "a forgotten variable would make production's store a laptop's",
    ),
    Named(
        "a-forgotten-store-is-published-to",
        _IDENTITY,
        "if newest and not any(blobs.exists(digest) for digest in newest):",
        "if False:",
        (f"{_OWN}::test_a_store_without_what_the_index_lists_is_refused",),
        "a version would be listed whose bytes nobody else can read",
    ),
    Named(
        "the-second-of-two-first-publishers-is-refused",
        _IDENTITY,
        "        if not _belong_together(database, blobs):\n            raise",
        "        raise",
        (f"{_OWN}::test_who_comes_second_is_not_taken_for_another_index",),
        "two builds that publish at once into a new registry: one would fail an hour in",
    ),
    Named(
        "a-looking-command-claims-the-store",
        _IDENTITY,
        "    if claim:\n        join(database, blobs)",
        "    if not claim:\n        join(database, blobs)",
        (f"{_OWN}::test_index_and_store_get_one_id_with_the_first_write[sqlite]",),
        "nothing would ever get an id",
    ),
    Named(
        "an-old-copy-of-the-index-collects",
        _GC,
        "            if isinstance(found, Release):\n                releases.append(found)",
        "            if isinstance(found, Release):\n                pass",
        (f"{_OWN}::test_an_index_that_is_older_than_the_store_collects_nothing",),
        "a database restored from last night would erase what was published today",
    ),
    Named(
        "a-killed-publish-stops-gc",
        _PUBLISH,
        "            stores.begin(connection, release.digest)\n",
        "",
        (f"{_OWN}::test_the_record_of_a_killed_publish_is_no_release_of_somebody_else",),
        "after one kill gc would refuse for ever",
    ),
    Named(
        "the-trash-is-emptied-at-once",
        _GC,
        "_empty_trash(database, blobs, time.time() - grace, report)",
        "_empty_trash(database, blobs, time.time() + grace, report)",
        (f"{_OWN}::test_what_nothing_needs_lies_in_the_trash_for_the_grace",),
        "a mistake could not be undone",
    ),
    Named(
        "trash-is-as-old-as-its-blobs",
        _LOCAL,
        "            os.utime(path)  # first",
        "            pass  # first",
        (f"{_OWN}::test_what_nothing_needs_lies_in_the_trash_for_the_grace",),
        "an old blob would be deleted by the next gc, not after the grace",
    ),
    Named(
        "what-is-needed-stays-in-the-trash",
        _GC,
        "if blob.digest in needed and not blobs.exists(blob.digest):",
        "if False:",
        (f"{_OWN}::test_what_is_needed_again_comes_back_from_the_trash",),
        "what somebody collected by mistake would be deleted a week later",
    ),
    Named(
        "a-publish-does-not-wait-for-gc",
        _PUBLISH,
        "            holding.wait_for_gc(database, sources)\n",
        "",
        (f"{_OWN}::test_a_publish_waits_while_a_gc_moves_its_bytes",),
        "a blob could be seen, and moved away before the release is listed",
    ),
    Named(
        "what-became-needed-is-not-moved-back",
        _GC,
        "        for digest in back:\n            blobs.recover(digest)",
        "",
        (f"{_OWN}::test_a_blob_that_became_needed_while_it_was_moved_comes_back",),
        "a publisher that waited for too long would list a release without its bytes",
    ),
    Named(
        "blobs-are-moved-under-the-lock",
        _GC,
        "            else:\n                blobs.discard(blob.digest)",
        "            else:\n                with database.write():\n"
        "                    blobs.discard(blob.digest)",
        (f"{_OWN}::test_nothing_is_locked_while_blobs_are_moved",),
        "requests would wait behind a slow store",
        quick=False,
    ),
    Named(
        "erased-bytes-stay-in-the-trash",
        _LOCAL,
        "        self.delete_discarded(digest)  # first: what is looked for is the other one\n",
        "",
        (f"{_OWN}::test_erased_bytes_do_not_lie_in_the_trash",),
        "a withdrawn consent would lie around for a week",
    ),
    Named(
        "a-rebuilt-release-counts-as-built-here",
        _REBUILD,
        "who=who, why=_WHY, built=False",
        "who=who, why=_WHY, built=True",
        (f"{_OWN}::test_the_index_is_made_again_from_the_store",),
        "a stranger's claimed plan would spare a build after a recovery",
    ),
    Named(
        "a-copy-of-a-record-becomes-a-version",
        _REBUILD,
        "if digest in files and digest not in take:",
        "if False:",
        (f"{_OWN}::test_a_copy_of_a_record_in_a_release_is_no_version",),
        "a stranger's file would bring a release of any name",
    ),
    Named(
        "a-release-without-weights-is-listed",
        _REBUILD,
        "elif not all(may_be_withheld(path) for path in absent):",
        "elif False:",
        (f"{_OWN}::test_what_is_rebuilt_lacks_what_the_store_lacks",),
        "a version would be listed that cannot be served",
    ),
    Named(
        "a-fingerprint-of-own-rows-leaves",
        _PRIVATE,
        "if role == PROOF and not public and _has_rows(read, path):",
        "if False:",
        (f"{_OF_PRIVATE}::test_a_push_takes_no_path_user_host_or_row_along",),
        "token ids of patients' rows would be published",
    ),
    Named(
        "the-lock-of-local-files-leaves",
        _PRIVATE,
        "if role == _LOCK and any(isinstance(source, FileSource) for source in sources):",
        "if False:",
        (f"{_OF_PRIVATE}::test_a_push_takes_no_path_user_host_or_row_along",),
        "what a hospital's files are called and hold would be published",
    ),
    Named(
        "somebody-elses-recipe-counts-as-public",
        _PRIVATE,
        'return isinstance(source, RecipeSource) and source.name in BUILTIN["recipes"]',
        "return isinstance(source, RecipeSource)",
        (f"{_OF_PRIVATE}::test_what_is_private",),
        "a recipe that reads a clinic's database would count as public rows",
    ),
    Named(
        "a-withhold-list-lets-predictions-go",
        _LEAVING,
        "    paths = asked | (set(private) - named) | release.withheld",
        "    private = () if release.withhold is not None else private\n"
        "    paths = asked | (set(private) - named) | release.withheld",
        ("tests/registry/remotes/hub/test_leave_out.py::test_who_says_what_stays",),
        "who withholds a plot would publish the predictions",
    ),
    Named(
        "a-record-with-paths-is-pushed",
        _PUSH,
        "    if head is None:\n        parcel.require_portable()\n",
        "    if head is None:\n",
        (f"{_OF_PRIVATE}::test_a_record_that_tells_of_a_machine_is_not_pushed",),
        "an empty repository would be made, and a second push would be needed to see why",
    ),
    Named(
        "a-record-with-paths-is-pushed-to-what-is-there",
        _PUSH,
        "        parcel.require_portable()\n        _check_head(",
        "        _check_head(",
        (f"{_OF_PRIVATE}::test_a_record_that_tells_of_a_machine_is_not_pushed",),
        "folders and names of a hospital would be published",
    ),
    Named(
        "the-wrong-visibility-is-said",
        _PUSH,
        "    seen = private if head is None else head.private",
        "    seen = private",
        (f"{_OF_PRIVATE}::test_who_may_see_it_is_said_before_anything_is_sent",),
        "a public repository would be called private",
    ),
    Named(
        "a-strangers-record-decides-a-name",
        _PULL,
        "    _check_name(registry, held, taken, asked=name is not None)\n",
        "",
        (f"{_OF_PULLING}::test_a_strangers_record_decides_no_name_that_exists_here",),
        "a stranger's adapter would become the next version of ours",
    ),
    Named(
        "another-hubs-repository-is-known-too",
        _PULL,
        'here = {"repository": held.repository, "endpoint": held.endpoint}',
        'here = {"repository": held.repository}',
        (f"{_OF_PULLING}::test_a_name_that_was_pushed_to_a_repository_is_pulled_from_it",),
        "who owns a name on another Hub would own it here",
    ),
    Named(
        "sizes-are-looked-at-after-the-download",
        _PULL,
        "    check_named(release, find_base(release.base.digest))\n",
        "",
        (f"{_OF_PULLING}::test_what_is_too_large_is_not_fetched",),
        "a stranger's record would fill the disk",
    ),
    Named(
        "a-pulled-adapter-may-do-nothing",
        _IMPORTED,
        "    check_values(folder / WEIGHTS, header)\n",
        "",
        (f"{_OF_IMPORTED}::test_a_lora_that_changes_nothing_is_refused",),
        "the base's answers would be taken for an adapter's",
    ),
    Named(
        "a-record-claims-any-rank",
        _IMPORTED,
        "if servable.rank is None or servable.rank > ",
        "if servable.rank is None or 0 > ",
        (f"{_OF_IMPORTED}::test_a_claimed_rank_is_the_configs",),
        "an engine would keep room for a rank that nothing has",
    ),
    Named(
        "a-lock-is-not-parsed",
        _IMPORTED,
        "        if path in _TABLES:\n            data",
        "        if False:\n            data",
        (f"{_OF_IMPORTED}::test_tables_that_are_read_later_are_read_now",),
        "`adapters lineage` would fail on a stranger's release for ever",
    ),
    Named(
        "a-plan-of-another-name-is-found",
        _LOOKUP,
        "(_versions.c.plan == plan) & (_versions.c.name == name) & ~came",
        "(_versions.c.plan == plan) & ~came",
        (f"{_OF_VERSIONS}::test_find_plan_finds_the_newest_live_version[sqlite]",),
        "a build of one name would answer with another's release",
    ),
    Named(
        "a-pulled-plan-of-before-spares-a-build",
        _LOOKUP,
        "(_versions.c.plan == plan) & (_versions.c.name == name) & ~came",
        "(_versions.c.plan == plan) & (_versions.c.name == name)",
        (f"{_OF_VERSIONS}::test_find_plan_finds_the_newest_live_version[sqlite]",),
        "a stranger's claimed scores would be shown as a build's",
    ),
    Named(
        "a-pulled-record-decides-an-engine",
        _ENGINES,
        "if row.latest is not None and not stranger:",
        "if row.latest is not None:",
        (f"{_OF_ENGINES}::test_a_pulled_release_counts_when_an_alias_points_to_it",),
        "a stranger's rank would cost every engine its memory",
    ),
    Named(
        "a-rank-that-no-engine-has-stops-all",
        _ENGINES,
        "if rank is not None and rank > LORA_RANKS[-1]:",
        "if False:",
        (
            f"{_OF_ENGINES}::"
            "test_a_rank_that_no_engine_has_does_not_keep_the_others_from_being_served",
        ),
        "`adapters serve` would not start",
    ),
    Named(
        "errors-carry-escapes-to-the-terminal",
        "adapterworks/errors.py",
        "click.echo(harmless(error.message), err=True)",
        "click.echo(error.message, err=True)",
        ("tests/cli/test_errors.py::test_what_a_stranger_wrote_does_nothing_to_the_terminal",),
        "a stranger's file name would act on an operator's terminal",
    ),
    Named(
        "a-forged-row-of-the-log-is-believed",
        _CHAIN,
        "        if row.chain != expected:",
        "        if False:",
        (f"{_OF_CHAIN}::test_a_changed_row_is_named",),
        "who promoted what could be rewritten by whoever has the database's password",
        quick=False,
    ),
    Named(
        "a-row-put-in-from-outside-is-believed",
        _CHAIN,
        "            if begun:\n",
        "            if False:\n",
        (f"{_OF_CHAIN}::test_a_row_that_was_taken_out_or_put_in_is_seen",),
        "an approval that nobody gave could be put into the history",
    ),
    Named(
        "old-rows-are-outside-the-chain",
        _CHAIN,
        "            before = expected\n            continue",
        "            continue",
        (f"{_OF_CHAIN}::test_rows_of_before_the_chain_are_covered_by_its_first_link",),
        "the history of before the upgrade could be rewritten",
    ),
    Named(
        "who-is-not-in-the-chain",
        _CHAIN,
        '"at", "who", "why", "data")',
        '"at", "why", "data")',
        (f"{_OF_CHAIN}::test_a_changed_row_is_named",),
        "somebody else could be made to have done it",
        quick=False,
    ),
    Named(
        "a-tombstone-that-nobody-logged-is-believed",
        "registry/lifecycle/verify_index.py",
        "if (row.deleted is not None) != (deleted is not None):",
        "if False:",
        (f"{_OF_CHAIN}::test_a_version_that_was_brought_back_or_exchanged_is_seen",),
        "what was deleted as backdoored could be brought back",
    ),
    Named(
        "an-index-in-use-is-overwritten",
        _BACKUP,
        "held = target.exists() and _holds_something(target)",
        "held = False",
        (f"{_OF_BACKUP}::test_a_copy_taken_while_it_is_in_use_is_put_back",),
        "a restore in the wrong home would destroy an index",
    ),
    Named(
        "a-damaged-index-is-backed-up",
        _BACKUP,
        "        if not sound:\n",
        "        if sound is None:\n",
        (f"{_OF_BACKUP}::test_a_damaged_index_is_neither_copied_nor_overwritten",),
        "a nightly copy of a damaged index would take the place of the last good one",
    ),
    Named(
        "a-damaged-index-is-empty",
        _BACKUP,
        "    except sqlite3.DatabaseError as error:\n        raise Conflict(",
        "    except ZeroDivisionError as error:\n        raise Conflict(",
        (f"{_OF_BACKUP}::test_a_damaged_index_is_neither_copied_nor_overwritten",),
        "what could be mended would be written over in the middle of an incident",
    ),
    Named(
        "a-hollow-base-is-loaded",
        "adapterworks/cli/import_.py",
        "    require_complete(base.checkpoint)\n",
        "",
        ("tests/registry/bases/test_complete.py::test_a_hollow_base_gives_no_fingerprint",),
        "a configuration of a few bytes would take all of the memory, until the kernel kills",
    ),
    Named(
        "a-file-is-known-by-its-size",
        "registry/reading/seen.py",
        "found.st_mtime_ns, found.st_ctime_ns",
        "found.st_mtime_ns, 0",
        (
            "tests/registry/reading/test_checkout.py"
            "::test_what_nobody_touched_is_not_read_again_and_what_somebody_did_is",
        ),
        "whoever puts a file's time back would have other weights served as a release's",
    ),
)
