"""Defects in the command line: what somebody types would reach another place than they mean, or be
taken for what it is not."""

from __future__ import annotations

from bench.mutants.mutant import Named

_SETTINGS = "adapterworks/settings.py"
_ASKING = "adapterworks/cli/chat_asking.py"
_BASH = "adapterworks/cli/bash.py"
_MAIN = "adapterworks/cli/main.py"
_SOCKETS = "gateway/http/sockets.py"
_OF_CONFIG = "tests/gateway/config/test_config.py"
_OF_EDGES = "tests/cli/test_edges.py"
_OF_CHAT = "tests/cli/test_chat.py"
_OF_WORK = "tests/cli/test_before_work.py"
_OF_UNREACHED = "tests/registry/remotes/http/test_unreached.py"
_OF_COMPLETION = "tests/cli/test_completion.py"

NAMED = (
    Named(
        "a-folder-is-known-by-its-name",
        "adapterworks/reconciling/differences.py",
        "actions=actions if prune and is_ours and not unreadable else (),",
        "actions=actions if prune and not unreadable else (),",
        (
            "tests/reconciling/test_differences.py"
            "::test_what_a_folder_of_the_same_name_applied_is_not_pruned",
        ),
        "one team's `apply --prune` would take another team's adapters away",
    ),
    Named(
        "a-new-stage-makes-its-manifest-faulty",
        "adapterworks/reconciling/world.py",
        "        except NotFound:\n            return False\n",
        "        except NotFound:\n            raise\n",
        (
            "tests/reconciling/test_world.py"
            "::test_a_stage_that_was_never_built_is_built_and_is_no_fault_of_its_manifest",
        ),
        "a manifest that is divided into stages would never be built by `adapters apply`",
    ),
    Named(
        "a-start-that-is-added-is-not-known",
        "adapterworks/reconciling/build_inputs.py",
        '        code["train"] |= no_origins() | lock["origins"]',
        '        code["train"] |= lock["origins"]',
        (
            "tests/reconciling/test_world.py"
            "::test_a_start_that_is_added_or_removed_changes_the_training_and_not_the_card",
        ),
        "hours of training would be announced as another card",
    ),
    Named(
        "a-remote-is-known-by-its-path",
        "adapterworks/reconciling/folder_identity.py",
        'host, path = (f"{found[1].lower()}/", found[2])',
        'host, path = ("", found[2])',
        ("tests/reconciling/test_folder_identity.py::test_however_it_was_cloned_it_is_the_same",),
        "repositories of one name on two servers would be one",
    ),
    Named(
        "another-home-has-the-callers-own-database",
        _SETTINGS,
        'home = env.get("HOME")',
        'home = os.environ.get("HOME")',
        (
            f"{_OF_EDGES}::test_an_environment_that_is_given_says_all_there_is",
            "tests/cli/test_places.py::test_a_home_is_that_home_whatever_ones_own_file_names",
        ),
        "`adapters cp … registry:staging#x` would publish into production",
        quick=False,
    ),
    Named(
        "an-answer-that-is-cut-off-is-whole",
        _ASKING,
        "    if not ended:\n",
        "    if False:\n",
        (f"{_OF_CHAT}::test_what_is_cut_off_or_no_gateways_is_not_taken_for_an_answer",),
        "half an answer would be shown, with exit code 0",
    ),
    Named(
        "a-login-page-is-an-answer",
        _ASKING,
        "    if given != wanted:\n",
        "    if False:\n",
        (
            f"{_OF_CHAT}::test_what_is_cut_off_or_no_gateways_is_not_taken_for_an_answer",
            f"{_OF_CHAT}::test_a_whole_answer_is_a_gateways",
        ),
        "what a proxy sends would be an empty answer of the base",
    ),
    Named(
        "a-key-may-hold-a-line-break",
        _ASKING,
        "            if not _is_plain(key):\n",
        "            if not key:\n",
        (f"{_OF_CHAT}::test_what_can_be_no_key_is_said",),
        "a key that was pasted with its line break would be a fault of ours",
    ),
    Named(
        "bash-loses-the-beginning-of-a-reference",
        _BASH,
        '(c not in "$@")',
        "True",
        (f"{_OF_COMPLETION}::test_bash_completes_what_has_its_own_breaks_in_it",),
        "the key would take the `@` out of `tickets@2`",
        quick=False,
    ),
    Named(
        "a-fault-of-the-settings-is-a-trace",
        _MAIN,
        "with contextlib.suppress(Exception):  # settings may be what failed",
        "with contextlib.suppress(OSError):  # settings may be what failed",
        (f"{_OF_EDGES}::test_a_fault_of_the_settings_themselves_has_a_report_too",),
        "without a home directory every command would answer with forty lines of trace",
        quick=False,
    ),
    Named(
        "a-group-alone-is-an-error",
        _MAIN,
        "    except click.exceptions.NoArgsIsHelpError as error:",
        "    except click.exceptions.BadArgumentUsage as error:",
        (f"{_OF_EDGES}::test_a_group_alone_shows_what_it_can_do",),
        "the first thing that is typed would be answered by `error: usage:`",
        quick=False,
    ),
    Named(
        "a-long-home-cannot-serve",
        _SOCKETS,
        "    if len(os.fsencode(path)) <= MOST_BYTES:\n",
        "    if path.name:\n",
        ("tests/gateway/http/test_sockets.py",),
        "`adapters serve` would end with a fault of ours where the home's path is long",
    ),
    Named(
        "a-file-that-cannot-be-written-is-found-at-the-end",
        "adapterworks/cli/values.py",
        "    if not there.is_dir():\n",
        "    if there is None:\n",
        (f"{_OF_WORK}::test_a_slip_of_the_pen_is_said_before_any_work",),
        "hours of training would end with a path that cannot be written, and no table",
    ),
    Named(
        "options-that-do-nothing-are-taken",
        "adapterworks/cli/option_rules.py",
        "    if goes:\n        return\n",
        "    if goes or not goes:\n        return\n",
        (f"{_OF_WORK}::test_options_that_would_change_nothing_are_refused",),
        "`adapters build medical --gpus 8` would train here on the CPU",
        quick=False,
    ),
    Named(
        "the-next-page-is-of-everybody",
        "adapterworks/cli/printing.py",
        "if name in changed or not typed or",
        "if name in changed or typed or",
        (f"{_OF_WORK}::test_the_next_page_is_of_the_same_command",),
        "the second page of one tenant's jobs would have everybody's",
    ),
    Named(
        "an-alias-is-looked-at-after-the-training",
        "adapterworks/cli/values.py",
        "        return self._check(value)\n",
        "        return value\n",
        (f"{_OF_WORK}::test_a_slip_of_the_pen_is_said_before_any_work",),
        "a training of hours would end with an alias that cannot be",
    ),
    Named(
        "another-adapters-samples",
        "adapterworks/cli/samples.py",
        'of = re.compile(rf"{re.escape(name)}-{_DIGEST}")',
        'of = re.compile(rf"{re.escape(name)}-.*")',
        ("tests/cli/test_samples.py::test_another_adapters_samples_are_not_shown",),
        "`adapters samples medical` would show another adapter's prompts and rewards",
    ),
    Named(
        "an-open-gateway-listens-anywhere",
        "gateway/config/possible.py",
        "    if config.open and not is_loopback(config.host):",
        "    if False:",
        (f"{_OF_CONFIG}::test_what_the_command_line_says_is_looked_at_with_the_rest",),
        "`--host 0.0.0.0` beside `open = true` would let everybody in without a key",
    ),
    Named(
        "what-a-program-configures-is-not-looked-at",
        "adapterworks/serving.py",
        "    require_possible(config)\n",
        "",
        (f"{_OF_CONFIG}::test_what_a_program_puts_together_is_looked_at_too",),
        "`adapterworks.serve` would open a gateway to a network",
    ),
    Named(
        "a-leftover-index-is-backed-up",
        "adapterworks/app.py",
        "is not None:\n            from adapterworks.registry.remotes.http.catalog import N",
        "is False:\n            from adapterworks.registry.remotes.http.catalog import N",
        (
            "tests/cli/test_registry_commands.py::"
            "test_a_leftover_index_is_neither_backed_up_nor_restored",
        ),
        "the team's index would have no backup, and its operator one of something else",
    ),
    Named(
        "a-worker-looks-for-names-in-its-own-folder",
        "manifests/document.py",
        "    return str(path.absolute())\n",
        "    return str(source)\n",
        ("tests/manifests/test_load.py::test_a_worker_elsewhere_finds_what_was_named_here",),
        "no build that is queued by its name would ever begin",
    ),
    Named(
        "a-clients-key-keeps-gateways-from-starting",
        "gateway/config/load.py",
        "if variable.startswith(PREFIX) and variable not in OF_CLIENTS:",
        "if variable.startswith(PREFIX):",
        ("tests/gateway/config/test_config.py::test_what_clients_are_told_is_no_key_of_a_gateway",),
        "`ADAPTERS_GATEWAY_KEY` in a profile would end `adapters serve`",
    ),
    Named(
        "a-password-with-a-slash-is-shown",
        "adapterworks/crash.py",
        "[^\\s\"'`]*@",
        "[^/\\s@]*@",
        ("tests/cli/test_edges.py::test_config_says_where_a_setting_comes_from_and_no_password",),
        "passwords would be in reports and in what people send to one another",
    ),
    Named(
        "a-table-in-a-pipe-is-cut",
        "adapterworks/cli/printing.py",
        "    if sys.stdout.isatty():  #",
        "    if Console().is_terminal:  #",
        ("tests/cli/test_edges.py::test_a_table_in_a_pipe_is_whole_whatever_is_said_of_colours",),
        "a CI that asks for colours would read digests that end in dots",
    ),
    Named(
        "whoever-follows-a-job-is-told-nothing-of-its-end",
        "adapterworks/cli/jobs.py",
        'if follow and found.state in ("failed", "cancelled"):',
        "if False:",
        ("tests/cli/test_edges.py::test_who_follows_a_job_is_told_its_end",),
        "`jobs logs --follow && promote` would promote after a build that failed",
    ),
    Named(
        "nan-is-in-every-range",
        "adapterworks/cli/values.py",
        "        if not math.isfinite(number):\n",
        "        if False:\n",
        ("tests/cli/test_edges.py::test_what_is_no_number_is_refused",),
        "`gc --grace nan` would empty the trash at once",
    ),
    Named(
        "a-login-that-cannot-be-read-is-a-crash",
        "adapterworks/login/store.py",
        "        except ValueError:  # cut off or edited",
        "        except ZeroDivisionError:  # cut off or edited",
        ("tests/login/test_login.py::test_what_cannot_be_read_is_no_login",),
        "every command would end in a report until somebody finds the file",
    ),
    Named(
        "rows-of-others-steer-the-terminal",
        "adapterworks/cli/data.py",
        '        text = printing.harmless(piece["text"])\n',
        '        text = piece["text"]\n',
        ("tests/cli/test_edges.py::test_rows_and_answers_of_others_do_nothing_to_the_terminal",),
        "`data inspect` of a stranger's rows would write what its user pastes next",
    ),
    Named(
        "corrected-rows-are-written-over",
        "adapterworks/cli/made_rows.py",
        "    if out.is_file() and not replace:\n",
        "    if False:\n",
        ("tests/cli/test_edges.py::test_rows_that_somebody_corrected_are_not_replaced",),
        "an hour of a person's corrections would go with the next `data synth`",
    ),
    Named(
        "an-extra-comes-from-an-index",
        "manifests/installing.py",
        'if parts.scheme == "file" and',
        'if parts.scheme == "none" and',
        ("tests/manifests/test_installing.py",),
        "the hint would install whatever somebody puts under the name",
    ),
    Named(
        "whoever-is-not-trusted-is-not-there",
        "registry/remotes/http/unreached.py",
        "        if isinstance(cause, ssl.SSLCertVerificationError):\n",
        "        if isinstance(cause, ArithmeticError):\n",
        (f"{_OF_UNREACHED}::test_a_certificate_that_is_not_trusted",),
        "a gateway would be started once more where a certificate is missing",
    ),
    Named(
        "what-cannot-be-looked-at-ends-the-doctor",
        "adapterworks/doctor/doctor.py",
        "    except Exception as error:\n",
        "    except ZeroDivisionError as error:\n",
        ("tests/doctor/test_doctor.py::test_what_ends_one_look_ends_no_other",),
        "a machine would be looked at up to its first fault, and no further",
    ),
    Named(
        "a-driver-speaks-in-lines",
        "registry/index/database.py",
        "isinstance(error, PoolTimeout) else error.orig).split())\n",
        'isinstance(error, PoolTimeout) else error.orig).split(" "))\n',
        (
            "tests/registry/index/test_database.py::test_databases_of_other_kinds_and_unreachable_ones_are_said",
        ),
        "an alarm on the log's lines would read half of what is wrong",
    ),
    Named(
        "json-is-a-yes",
        "adapterworks/cli/confirming.py",
        "    if yes:\n",
        "    if yes or as_json:\n",
        (f"{_OF_EDGES}::test_what_goes_for_good_goes_in_json_by_yes_alone",),
        "a program that lists what it deletes would delete without being told to",
    ),
    Named(
        "a-script-is-a-yes",
        "adapterworks/cli/confirming.py",
        '        raise InvalidInput(f"nothing was {what}: nobody',
        '        return InvalidInput(f"nothing was {what}: nobody',
        (f"{_OF_EDGES}::test_a_deletion_asks_in_scripts_for_yes",),
        "a loop over versions would delete them all, without `--yes`",
    ),
    Named(
        "only-the-first-error-counts",
        "registry/remotes/http/unreached.py",
        "        error = error.__cause__ or error.__context__\n",
        "        error = None\n",
        (f"{_OF_UNREACHED}::test_a_name_that_is_not_found",),
        "a slip in ADAPTERS_REGISTRY would be told as a server that is down",
    ),
)
