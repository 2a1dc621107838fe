"""Builds elsewhere: what goes along, what is kept, what a place is asked, what it may read."""

from __future__ import annotations

from bench.mutants.mutant import Named

_BUNDLE = "adapterworks/workers/bundle.py"
_CHECKPOINTS = "adapterworks/workers/blob_checkpoints.py"
_REMOTE = "adapterworks/workers/remote.py"
_FOLDER = "adapterworks/workers/executors/folder.py"
_PLACED = "adapterworks/workers/placed.py"
_SLURM = "adapterworks/workers/executors/slurm.py"
_OF_SLURM = "tests/workers/executors/test_slurm_words.py"
_OF_FOLLOWING = "tests/workers/test_following.py"
_OF_WORKER = "tests/workers/test_worker.py"
_OF_CHECKPOINTS = "tests/workers/test_blob_checkpoints.py"
_OF_KUBERNETES = "tests/workers/executors/test_kubernetes.py"
_OF_RESOURCES = "tests/builders/plan/test_resources.py"

NAMED = (
    Named(
        "a-paused-job-is-killed",
        "adapterworks/workers/worker.py",
        '                    asked = Given("paused")\n                    child.terminate()',
        '                    return Given("paused")',
        (f"{_OF_WORKER}::test_a_job_that_is_given_back_or_paused_saves_what_it_has",),
        "what it has learnt since its last checkpoint would be lost",
    ),
    Named(
        "what-goes-along-is-stored-before-it-is-held",
        "registry/lifecycle/holding.py",
        "lease = leases.take(connection, kind, sources, holder=holder, seconds=seconds)",
        "lease = leases.take(connection, kind, (), holder=holder, seconds=seconds)",
        (
            f"{_OF_CHECKPOINTS}::test_gc_beside_what_goes_along_leaves_it",
            f"{_OF_CHECKPOINTS}::test_gc_beside_a_checkpoint_leaves_it",
        ),
        "a gc beside a build's beginning would take its rows away",
    ),
    Named(
        "what-a-lost-worker-stored-is-held-for-ever",
        _CHECKPOINTS,
        "        except BaseException:\n            with self._database.write() as connection:\n"
        "                leases.end(connection, lease)\n            raise\n",
        "        except ZeroDivisionError:\n            raise\n",
        (f"{_OF_CHECKPOINTS}::test_what_a_lost_worker_stored_is_held_by_nobody",),
        "checkpoints of workers that were taken for dead would fill the store",
        quick=False,
    ),
    Named(
        "a-busy-controller-has-forgotten-a-job",
        _SLURM,
        "        if _FORGOTTEN in error.message:",
        "        if True:",
        (f"{_OF_SLURM}::test_a_controller_that_is_busy_says_nothing_of_a_job",),
        "a healthy build would be cancelled because Slurm was slow once",
    ),
    Named(
        "one-that-is-queued-again-has-ended",
        _SLURM,
        '        if state in _WAITING:\n            return "waiting"\n',
        '        if state in _WAITING and folder.ended is None:\n            return "waiting"\n',
        (f"{_OF_SLURM}::test_one_that_is_queued_again_has_not_ended",),
        "a preempted build would be cancelled while Slurm queues it again",
    ),
    Named(
        "a-place-that-is-silent-ends-who-follows",
        _REMOTE,
        "        except (Unavailable, NoPlace) as error:",
        "        except NoPlace as error:",
        ("tests/workers/test_following.py::test_a_place_that_does_not_answer_is_asked_again",),
        "a cluster's short silence would end what was said of a build of hours",
    ),
    Named(
        "a-place-that-has-forgotten-ends-who-follows",
        _PLACED,
        '        return WorkerStatus("forgotten", error.message)\n',
        "        raise\n",
        (f"{_OF_FOLLOWING}::test_a_worker_that_its_place_has_forgotten_ends_its_job",),
        "a build whose Job was removed would be queued for ever",
    ),
    Named(
        "who-cannot-ask-a-place-says-that-nobody-runs-it",
        _PLACED,
        "    except NoPlace:\n        raise\n    except NotFound",
        "    except NotFound",
        (f"{_OF_FOLLOWING}::test_a_place_that_cannot_be_asked_from_here_has_forgotten_nothing",),
        "a healthy build would be taken for lost wherever Slurm's commands are not",
    ),
    Named(
        "a-task-of-another-home-is-lost",
        _FOLDER,
        "            raise NoPlace(\n",
        "            raise NoPlace.__base__(\n",
        (
            f"{_OF_FOLLOWING}::test_a_build_that_was_given_away_from_another_home_is_not_begun_twice",
        ),
        "a build that runs would be begun a second time",
    ),
    Named(
        "ctrl-c-leaves-a-job-that-nobody-will-run",
        _REMOTE,
        "    except BaseException:  # Ctrl-C too",
        "    except Unavailable:  # Ctrl-C too",
        (
            f"{_OF_FOLLOWING}::"
            "test_a_job_whose_worker_is_not_begun_is_cancelled_whatever_kept_it[KeyboardInterrupt]",
        ),
        "a build would be queued for ever, with all of its files held",
    ),
    Named(
        "a-full-disk-ends-a-job",
        "adapterworks/workers/child.py",
        "        if (full := no_room(error)) is not None:",
        "        if (full := None) is not None:",
        (f"{_OF_WORKER}::test_a_job_for_which_a_disk_or_memory_is_full_is_tried_again",),
        "a training of hours would be given up because a disk was full for a minute",
    ),
    Named(
        "a-worker-that-cannot-write-loses-its-jobs",
        "adapterworks/workers/worker.py",
        "                except OSError:  # its disk is full",
        "                except ZeroDivisionError:  # its disk is full",
        (f"{_OF_WORKER}::test_a_worker_that_cannot_write_gives_its_job_back_and_ends",),
        "one machine's full disk would have the whole queue fail",
    ),
    Named(
        "a-paused-build-is-cancelled",
        _REMOTE,
        "        self._let_go = task_of(job)\n",
        "        pass\n",
        (f"{_OF_FOLLOWING}::test_who_follows_waits_for_a_job_that_somebody_pauses",),
        "a pause would end the build of whoever looks on",
    ),
    Named(
        "a-worker-that-is-about-to-end-is-relied-on",
        _REMOTE,
        '        if found.state == "waiting" or job.state == "running":\n            return None\n',
        "        return None\n",
        (f"{_OF_FOLLOWING}::test_a_resumed_job_is_given_to_its_place_again",),
        "a build that is resumed as it pauses would be queued for ever",
    ),
    Named(
        "a-resumed-build-is-only-queued",
        "adapterworks/cli/jobs.py",
        "        given = begin_worker(app, found)\n",
        "        pass\n",
        (f"{_OF_FOLLOWING}::test_the_command_begins_a_worker_for_a_build_that_has_none",),
        "nobody would come for its lane any more",
    ),
    Named(
        "a-lost-build-is-followed-for-ever",
        "adapterworks/cli/jobs_remote.py",
        "        if not found.is_there:\n            raise Unavailable(",
        "        if found is None:\n            raise Unavailable(",
        (f"{_OF_FOLLOWING}::test_the_command_begins_a_worker_for_a_build_that_has_none",),
        "whoever follows it would see nothing, and wait",
    ),
    Named(
        "an-index-that-is-away-ends-the-worker",
        "adapterworks/workers/worker.py",
        "            except Unavailable as error:  # in the end whoever is next",
        "            except ZeroDivisionError as error:  # in the end whoever is next",
        (f"{_OF_WORKER}::test_an_index_that_is_away_at_a_jobs_end_does_not_end_the_worker",),
        "a build elsewhere would be queued for ever after a second without its index",
    ),
    Named(
        "a-finished-build-is-told-once",
        "adapterworks/workers/child.py",
        "        _insist(lambda: _finish(app, claim, outcome))",
        "        _finish(app, claim, outcome)",
        (f"{_OF_WORKER}::test_an_index_that_is_away_is_asked_again_for_what_a_job_came_to",),
        "a build of hours would be a failed try for a second without its index",
    ),
    Named(
        "a-later-default-is-a-changed-manifest",
        "adapterworks/workers/detached.py",
        'stage.model_dump(mode="json", exclude_unset=True)',
        'stage.model_dump(mode="json")',
        ("tests/workers/test_detached.py::test_a_job_outlives_an_upgrade",),
        "what is queued over an upgrade would fail",
    ),
    Named(
        "a-site-leaves-out-which-registry-is-meant",
        _SLURM,
        '            "--export=ALL",',
        '            "",',
        (f"{_OF_SLURM}::test_variables_of_whoever_asks_steer_neither_a_job_nor_a_question",),
        "with `SBATCH_EXPORT=NONE` a worker would look for its lane in another registry, and end",
    ),
    Named(
        "an-image-that-cannot-be-pulled-is-not-said",
        "adapterworks/workers/executors/kubernetes_words.py",
        "    said = [\n        _sentence(state.waiting.reason",
        "    said = [\n        _sentence(None and state.waiting.reason",
        (f"{_OF_KUBERNETES}::test_what_keeps_a_pod_from_beginning_is_said",),
        "a build would wait for ever for an image that nobody has pushed",
    ),
    Named(
        "what-a-job-waits-for-a-node-is-its-time",
        "adapterworks/workers/executors/ray_driver.py",
        "            ray.get(runner.__ray_ready__.remote())  # what is waited",
        "            # what is waited",
        (
            "tests/workers/executors/test_ray_driver.py"
            "::test_what_a_task_waits_for_a_node_is_none_of_its_time",
        ),
        "a night in a cluster's queue would leave a build no time",
    ),
    Named(
        "a-worker-that-gives-back-has-succeeded",
        "adapterworks/cli/worker.py",
        "raise SystemExit(GIVEN_BACK)",
        "raise SystemExit(0)",
        (f"{_OF_KUBERNETES}::test_a_drained_node_is_not_the_end",),
        "Kubernetes would begin no other pod, and the build be lost with a drained node",
        quick=False,
    ),
    Named(
        "whoever-has-the-number-is-the-task",
        "adapterworks/workers/executors/local.py",
        'begun != "ended" and _begun(pid) == begun',
        'begun != "ended" and _begun(pid) != "ended"',
        (
            "tests/workers/executors/test_local.py"
            "::test_a_number_that_is_somebody_elses_by_now_is_not_the_task",
        ),
        "cancelling a build would end a process of somebody else",
    ),
    Named(
        "a-path-leads-out-of-the-folder",
        _BUNDLE,
        'if not parts or name.startswith("/") or ".." in parts:',
        'if not parts or name.startswith("/"):',
        (f"{_OF_CHECKPOINTS}::test_a_packed_path_leads_nowhere_else",),
        "whoever can queue a job could write anywhere on a worker",
    ),
    Named(
        "an-older-checkpoint-replaces-a-newer-one",
        _CHECKPOINTS,
        "        if (folder / _RECORD).is_file() and _step(folder) >= step:\n            return\n",
        "",
        (f"{_OF_CHECKPOINTS}::test_another_node_goes_on_where_the_first_one_was",),
        "a worker that comes back to its own node would lose what it did since",
    ),
    Named(
        "gc-takes-a-checkpoint-that-a-job-names",
        "registry/jobs/putting.py",
        '"job", sources, holder=job, seconds=_FILES_S',
        '"job", sources, holder=job, seconds=-1.0',
        (f"{_OF_CHECKPOINTS}::test_gc_leaves_what_a_build_elsewhere_needs_until_it_has_ended",),
        "a node that dies after an hour would be nobody's resume",
    ),
    Named(
        "a-checkpoint-of-another-stage-is-taken",
        _CHECKPOINTS,
        'self._kept is None or self._kept["folder"] != folder.name',
        "self._kept is None",
        (f"{_OF_CHECKPOINTS}::test_another_node_goes_on_where_the_first_one_was",),
        "the second stage of a chain would go on with the first one's weights",
    ),
    Named(
        "best-weights-stay-behind",
        _CHECKPOINTS,
        '(*checkpoints.glob("step-*/*"), *checkpoints.glob("best-*/*"))',
        'checkpoints.glob("step-*/*")',
        (f"{_OF_CHECKPOINTS}::test_another_node_goes_on_where_the_first_one_was",),
        "a resumed training would end without the best step's weights",
    ),
    Named(
        "the-databases-password-is-in-the-job",
        "adapterworks/workers/environment.py",
        "if not _has_a_password(settings.database):",
        "if True:",
        (f"{_OF_KUBERNETES}::test_nothing_secret_is_in_a_job",),
        "whoever may read Jobs could write to the index",
    ),
    Named(
        "the-askers-address-hides-the-secrets",
        "adapterworks/workers/executors/kubernetes_objects.py",
        "variables.pop(name, None)",
        "pass",
        (f"{_OF_KUBERNETES}::test_a_job_is_of_kubernetes_schema_and_the_worker_of_the_base",),
        "no Job of the documented kind would reach its index",
    ),
    Named(
        "a-drained-node-is-a-failure",
        "adapterworks/workers/executors/kubernetes_objects.py",
        '{"type": "DisruptionTarget", "status": "True"}',
        '{"type": "DisruptionTarget"}',
        (f"{_OF_KUBERNETES}::test_a_job_is_of_kubernetes_schema_and_the_worker_of_the_base",),
        "older clusters would refuse every Job",
    ),
    Named(
        "too-little-memory-is-asked-for",
        "builders/plan/resources.py",
        "if said is not None and said < least:",
        "if False:",
        (f"{_OF_RESOURCES}::test_what_contradicts_the_plan_is_refused",),
        "a build would be killed hours after it was queued",
    ),
    Named(
        "one-process-is-paid-for",
        "builders/plan/resources.py",
        "return round(total * said.processes * _RESERVE) + _BESIDE",
        "return round(total * _RESERVE) + _BESIDE",
        (f"{_OF_RESOURCES}::test_what_is_not_said_is_the_plans",),
        "of two processes on a CPU one would be killed",
    ),
)
