"""What is held by mutants: for each area the files that decide, and the quick tests of them.

A new area is a row here and a file in `named/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.mutants.mutant import ROOT

# Both kinds of database, all kinds of store: one of each says the same and takes a fraction.
QUICK = (
    "-m",
    "not slow and not engine and not train",
    "-k",
    "not (postgresql or moto or nanio or processes)",
)
# Imported once before anything is forked; names that are missing are passed over.
PRELOAD = (
    "numpy", "scipy.stats", "pydantic", "sqlalchemy", "sqlalchemy.dialects.postgresql", "psycopg",
    "obstore", "huggingface_hub", "hypothesis", "schemathesis", "pytest_asyncio", "openai",
    "aiohttp", "starlette", "uvicorn", "prometheus_client", "opentelemetry.sdk.trace",
    "safetensors.numpy", "model_signing.signing",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Area:
    """One part of the code.

    Attributes:
        sources: files, or patterns of files, of which generated mutants are made.
        tests: files and folders whose tests cover them, without those that take long.
    """

    name: str
    sources: tuple[str, ...]
    tests: tuple[str, ...]

    def files(self, root: Path = ROOT) -> list[str]:
        """The sources by path, in order."""
        found = [path for pattern in self.sources for path in root.glob(pattern)]
        names = {path.relative_to(root).as_posix() for path in found if path.name != "__init__.py"}
        return sorted(names)


def _files(folder: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{folder}/test_{name}.py" for name in names)


AREAS = {
    area.name: area
    for area in (
        Area(
            "limits",
            ("gateway/admission/*.py", "gateway/metering/*.py"),
            ("tests/gateway/admission", "tests/gateway/metering"),
        ),
        Area(
            "residency",
            ("gateway/residency/*.py",),
            _files(
                "tests/gateway/residency",
                "diagnosis", "gate", "handover", "holding", "probes", "proving", "resolve", "seats",
                "slices", "verdict", "waiting",
            ),
        ),
        Area(
            "console",
            ("gateway/console/*.py", "gateway/console/pages/*.py"),
            _files("tests/gateway/console", "adapters", "doors", "pages"),
        ),
        Area(
            "scoring",
            (
                "builders/data/reasoning.py", "builders/data/spans.py", "builders/data/wording.py",
                "builders/data/gates/text.py", "builders/evaluation/metrics/*.py",
                "builders/evaluation/suites/*.py",
            ),
            (*_files(
                    "tests/builders/evaluation",
                    *("fenced", "metrics", "numbers", "reasoning", "suites", "verifiers"),
                ),
             *_files(
                    "tests/builders/data",
                    *("pair_gates", "shown", "template_shapes", "wording"),
                )),
        ),
        Area(
            "statistics",
            (
                "builders/evaluation/statistics.py", "builders/evaluation/comparison.py",
                "builders/evaluation/nearest.py", "builders/evaluation/sequences.py",
                "builders/evaluation/gates/*.py", "builders/watching/*.py",
                "builders/reviewing/*.py",
            ),
            (*_files(
                    "tests/builders/evaluation",
                    *("statistics", "comparison", "gates", "evaluate", "nearest", "sequences"),
                    *("win_rate", "safety"),
                ),
             *_files("tests/builders/watching", "score_log", "feedback", "paired", "inputs"),
             "tests/builders/reviewing"),
        ),
        Area(
            "evaluation",
            (
                "builders/evaluation/scorers.py", "builders/evaluation/unjudged.py",
                "builders/evaluation/tokenizers.py", "builders/plan/sent.py",
            ),
            (
                *_files("tests/builders/evaluation", "scorers", "unjudged", "tokenizers"),
                *_files("tests/builders/evaluation", "evaluate", "metrics"),
                *_files("tests/builders/watching", "paired", "shadowed"),
                *_files("tests/builders/plan", "sent", "digests"),
                "tests/builders/publishing", "tests/builders/comparing",
            ),
        ),
        Area(
            "registry",
            (
                "registry/lifecycle/*.py", "registry/index/[!s]*.py", "registry/index/search.py",
                "registry/blobs/local.py", "registry/blobs/store.py", "registry/reading/*.py",
            ),
            (*_files(
                    "tests/registry/lifecycle",
                    "adopt", "aliases", "decided", "erase", "gc", "own_store", "publish", "signing",
                    "verify",
                ), "tests/registry/index", "tests/registry/blobs",
             "tests/registry/reading"),
        ),
        Area(
            "training",
            (
                "builders/training/*.py", "builders/training/trackers/tracker.py",
                "builders/generation/*.py",
            ),
            (
                "tests/builders/training", "tests/builders/methods/test_adalora.py",
                "tests/builders/generation",
            ),
        ),
        Area(
            "conversion",
            (
                "builders/methods/*.py", "builders/merging/*.py", "builders/merging/rules/*.py",
            ),
            ("tests/builders/methods", "tests/builders/merging"),
        ),
        Area(
            "plugin",
            ("gateway/engine_plugin/*.py",),
            _files(
                "tests/gateway/engine_plugin",
                "few_rows", "grouping", "products", "prompt_scores", "requests", "stock_path",
                "weights",
            ),
        ),
        Area(
            "store",
            (
                "registry/lifecycle/identity.py", "registry/lifecycle/rebuild.py",
                "registry/index/stores.py", "registry/index/backup.py", "registry/blobs/marker.py",
                "registry/remotes/private.py", "registry/remotes/leaving.py",
            ),
            (*_files("tests/registry/lifecycle", "own_store", "gc"),
             "tests/registry/index/test_backup.py",
             "tests/registry/remotes/hub/test_private.py",
             "tests/registry/remotes/hub/test_leave_out.py"),
        ),
        Area(
            "command",
            (
                "adapterworks/settings.py", "adapterworks/cli/chat_asking.py",
                "adapterworks/cli/bash.py", "adapterworks/cli/values.py",
                "adapterworks/cli/option_rules.py", "adapterworks/cli/samples.py",
                "gateway/http/sockets.py",
            ),
            (
                "tests/cli/test_before_work.py", "tests/cli/test_samples.py",
                "tests/cli/test_edges.py", "tests/cli/test_chat.py",
                "tests/cli/test_completion.py", "tests/gateway/http/test_sockets.py",
            ),
        ),
        Area(
            "drafting",
            ("adapterworks/drafting/*.py", "builders/data/sources/workbook.py"),
            ("tests/drafting", "tests/builders/data/test_sources.py"),
        ),
        Area(
            "requests",
            (
                "gateway/request/[bcu]*.py", "gateway/request/endpoints.py",
                "gateway/request/stream.py", "gateway/request/typed/*.py",
            ),
            _files("tests/gateway/request", "bounds", "edge", "media", "stream"),
        ),
        Area(
            "refs",
            ("manifests/refs.py", "manifests/digests.py", "registry/releases/paths.py"),
            ("tests/manifests/test_refs.py", "tests/manifests/test_digests.py"),
        ),
        Area(
            "routing",
            (
                "gateway/request/[!bcu]*.py", "gateway/engines/pool.py",
                "gateway/engines/routing.py", "gateway/engines/target.py",
                "gateway/engines/forms/*.py", "gateway/http/header_limit.py",
                "gateway/http/routes/common.py",
            ),
            (*_files(
                "tests/gateway/request",
                "account", "errors", "receipts", "scored_prompts", "stream", "whole_path",
            ),
             *_files("tests/gateway/engines", "keeping", "routing")),
        ),
        Area(
            "fleet",
            (
                "gateway/discovery/*.py", "gateway/config/place.py", "gateway/engines/identity.py",
                "gateway/engines/routing.py",
            ),
            (*_files("tests/gateway/discovery", "place", "finders", "follow"),
             *_files("tests/gateway/engines", "keeping", "routing")),
        ),
        Area(
            "elsewhere",
            (
                "adapterworks/workers/bundle.py", "adapterworks/workers/blob_checkpoints.py",
                "adapterworks/workers/executors/kubernetes*.py", "builders/plan/resources.py",
            ),
            ("tests/workers/test_blob_checkpoints.py", "tests/workers/executors/test_kubernetes.py",
             "tests/builders/plan/test_resources.py"),
        ),
        Area(
            "capture",
            (
                "gateway/capture/*.py", "gateway/tenants/consent.py", "registry/exchanges/*.py",
                "adapterworks/privacy/*.py", "gateway/request/recorder.py",
            ),
            ("tests/gateway/capture", "tests/registry/exchanges", "tests/privacy"),
        ),
        Area(
            "erasing",
            (
                "builders/data/erasing.py", "builders/data/repeating.py",
                "builders/data/gates/erased.py", "builders/building/erased.py",
                "registry/datasets/erase*.py",
                "registry/lifecycle/reviewed.py",
            ),
            (
                "tests/builders/data/test_datasets.py", "tests/registry/datasets/test_store.py",
                "tests/registry/lifecycle/test_purge.py", "tests/builders/building/test_erased.py",
            ),
        ),
        Area(
            "container",
            ("gateway/http/routes/container.py", "gateway/request/instances.py"),
            ("tests/gateway/http/test_container.py",),
        ),
        Area(
            "reloading",
            ("gateway/config/reload.py", "gateway/http/reloading.py"),
            ("tests/gateway/config/test_reload.py", "tests/gateway/http/test_reloading.py"),
        ),
        Area(
            "sweeping",
            ("builders/sweeping/*.py",),
            _files("tests/builders/sweeping", "space", "sweep"),
        ),
        Area(
            "webhooks",
            ("gateway/webhooks/*.py", "gateway/config/webhooks.py"),
            ("tests/gateway/webhooks",),
        ),
        Area(
            "oci",
            ("registry/remotes/oci/*.py", "registry/remotes/own.py"),
            _files(
                "tests/registry/remotes/oci",
                "copy", "cut_off", "names", "release", "who", "wire",
            ),
        ),
        Area(
            "hub",
            ("registry/remotes/hub/*.py", "registry/remotes/*.py", "registry/bases/hub_errors.py"),
            _files(
                "tests/registry/remotes/hub",
                "absent", "blobs_of_a_push", "card", "client", "download", "errors", "fetch",
                "fetched_record", "last_push", "layout", "leave_out", "names", "private", "pulling",
                "pushing", "signatures", "offline", "hostile_records",
            ),
        ),
        Area(
            "data",
            (
                "builders/data/[!l]*.py", "builders/data/load.py", "builders/data/formats/*.py",
                "builders/data/gates/*.py", "builders/data/recipes/recipe.py",
                "builders/synthesis/*.py", "builders/endpoints/cache.py",
                "builders/endpoints/budget.py",
            ),
            (*_files(
                    "tests/builders/data",
                    "formats", "gate_bounds", "gates", "identity", "load", "loss_mask", "many",
                    "mix", "places", "remembered", "render", "rows", "sources", "splits", "turns",
                    "datasets", "seals",
                ),
             "tests/builders/synthesis", "tests/builders/endpoints/test_cache.py"),
        ),
        Area(
            "jobs",
            ("registry/jobs/*.py", "gateway/files/*.py", "gateway/jobs/*.py"),
            ("tests/registry/jobs/test_queue.py", "tests/gateway/files",
             "tests/gateway/jobs/test_conformance.py", "tests/gateway/jobs/test_batches.py"),
        ),
        Area(
            "outcomes",
            ("registry/jobs/moves.py", "registry/jobs/shown.py", "registry/jobs/erasing.py",
             "gateway/jobs/batching.py", "gateway/jobs/proving.py"),
            ("tests/registry/jobs", "tests/gateway/jobs/test_proving.py",
             "tests/gateway/jobs/test_batches_end.py", "tests/gateway/jobs/test_erasing.py"),
        ),
        Area(
            "offered",
            (
                "gateway/tokens/*.py", "gateway/http/routes/registry/*.py",
                "registry/remotes/http/*.py", "registry/lifecycle/approval.py",
                "registry/datasets/*.py",
            ),
            ("tests/gateway/registry_http", "tests/registry/remotes/http",
             "tests/registry/lifecycle/test_approval.py", "tests/registry/datasets"),
        ),
        Area(
            "supervision",
            ("gateway/supervision/*.py",),
            ("tests/gateway/supervision/test_supervisor.py",),
        ),
        Area("plan", ("builders/plan/*.py",), ("tests/builders/plan",)),
        Area("importing", ("manifests/importing/*.py", "manifests/toml.py"),
             ("tests/manifests/importing", "tests/manifests/test_toml.py")),
        Area(
            "exports",
            ("builders/exports/*.py", "builders/exports/gguf/*.py", "builders/exports/onnx/*.py"),
            ("tests/builders/exports",),
        ),
        Area("objectives", ("builders/objectives/*.py",), ("tests/builders/objectives",)),
        Area(
            "sampled",
            (
                "builders/objectives/ppo.py",
                "builders/objectives/credit.py",
                "builders/objectives/alarms.py",
                "builders/training/value_head.py",
                "builders/training/rollouts.py",
                "builders/training/sampling.py",
            ),
            (
                "tests/builders/objectives/test_ppo.py",
                "tests/builders/objectives/test_alarms.py",
                "tests/builders/training/test_ppo_training.py",
                "tests/builders/training/test_alarms.py",
                "tests/builders/training/test_rollouts.py",
            ),
        ),
        Area(
            "answers",
            (
                "builders/evaluation/metrics/forms.py", "builders/evaluation/metrics/api.py",
                "builders/evaluation/metrics/abstention.py",
            ),
            _files("tests/builders/evaluation", "forms", "api", "abstention"),
        ),
        Area(
            "layouts",
            (
                "builders/training/projection.py",
                "builders/objectives/scoring.py",
                "builders/plan/packing.py",
            ),
            (
                "tests/builders/plan/test_packing.py",
                "tests/builders/training/test_projection.py",
                "tests/builders/objectives/test_scoring.py",
            ),
        ),
        Area(
            "taught",
            (
                "builders/objectives/distillation.py",
                "builders/objectives/distill.py",
                "builders/objectives/sdft.py",
                "builders/training/distilled.py",
                "builders/training/teacher.py",
                "builders/training/anchor.py",
                "builders/building/teachers.py",
            ),
            (
                "tests/builders/objectives/test_distill.py",
                "tests/builders/training/test_distilled.py",
                "tests/builders/training/test_anchor.py",
                "tests/builders/building/test_teachers.py",
            ),
        ),
        Area(
            "alignment",
            ("builders/data/verdict.py", "builders/rewards/*.py", "manifests/stages.py"),
            (
                "tests/builders/objectives",
                "tests/builders/rewards",
                "tests/builders/evaluation/test_verifiers.py",
                "tests/manifests/test_stages.py",
                "tests/builders/building/test_stages.py",
            ),
        ),
    )
}  # fmt: skip
