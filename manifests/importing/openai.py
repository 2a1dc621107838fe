"""OpenAI's fine-tuning jobs, as `client.fine_tuning.jobs.retrieve` prints them.

Keys are those of the job; hyperparameters are `hyperparameters.NAME` wherever the job has them, and
what belongs to one method is `method.NAME`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapterworks.manifests.importing.common import adapter_name
from adapterworks.manifests.importing.conversion import Conversion, Draft, Idle, Rule
from adapterworks.manifests.importing.openai_graders import put_criteria, put_grader

PROGRAM = "OpenAI's jobs"
AUTO = "auto"
# OpenAI's method → our objective, and which rows it takes in which format.
_OBJECTIVES = {"supervised": "sft", "dpo": "dpo", "reinforcement": "grpo"}
_FORMATS = {
    ("supervised", "supervised"): "messages",
    ("supervised", "completion"): "prompt-completion",
    ("dpo", "paired"): "openai-preference",
    ("reinforcement", "supervised"): "messages",
}
_GENERATIONS = 8
_OF_OPENAI = "it says what was at OpenAI"
RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("object", "id", "created_at", "finished_at", "estimated_finish", "organization_id",
         "status", "error", "trained_tokens", "result_files", "usage_metrics", "eval_id",
         "fine_tuned_model", "shared_with_openai", "billing", "user_provided_suffix"),
        Idle(_OF_OPENAI),
    ),
    "metadata": Idle("labels are of jobs: send them with `client.fine_tuning.jobs.create`"),
    "hyperparameters.eval_interval": Idle("`train.evaluations` says how often"),
    "hyperparameters.eval_samples": Idle("every validation prompt is answered once"),
    "hyperparameters.reasoning_effort": Idle("no equivalent: a base here has no such setting"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RowsFile:
    """A file of rows.

    Attributes:
        path: beside the jobs.
        kind: of its rows; empty where `fault` says why it cannot be used.
        texts: columns of its first row that are texts.
    """

    path: str
    kind: str
    texts: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Around:
    """What a job's manifest is made of beside the job.

    Attributes:
        base: the nearest local one.
        files: by OpenAI's id.
        made: the model that another job has made → that job's adapter here.
        rate: an objective → the usual learning rate, which multipliers are of.
        evals: definitions that judge this job's result.
    """

    base: str
    files: Mapping[str, RowsFile]
    made: Mapping[str, str]
    rate: Callable[[str], float]
    evals: Sequence[Mapping[str, Any]] = ()


def flat(job: Mapping[str, Any]) -> dict[str, Any]:
    """A job's keys, those of its hyperparameters and of its method with dots."""
    given = dict(job)
    legacy, method = given.pop("hyperparameters", None), given.pop("method", None)
    found: dict[str, Any] = dict(legacy) if isinstance(legacy, Mapping) else {}
    kind = "supervised"
    if isinstance(method, Mapping):
        kind = str(method.get("type", kind))
        own = method.get(kind)
        if isinstance(own, Mapping):
            of_method = own.get("hyperparameters")
            found |= dict(of_method) if isinstance(of_method, Mapping) else {}
            given |= {f"method.{k}": v for k, v in own.items() if k != "hyperparameters"}
        given |= {f"method.{k}": v for k, v in method.items() if k not in ("type", kind)}
    elif method is not None:
        given["method"] = method
    given["method.type"] = kind
    return given | {f"hyperparameters.{name}": value for name, value in found.items()}


def name_of(job: Mapping[str, Any]) -> str:
    """What the adapter is called: by its suffix, else by the job."""
    parts = str(job.get("fine_tuned_model") or "").split(":")
    suffix = job.get("user_provided_suffix") or job.get("suffix") or (parts[3:4] or [""])[0]
    name = adapter_name(str(suffix)[:1000])
    return name if name != "imported" else adapter_name(str(job.get("id", ""))[:1000])


def nearest_base(model: str, bases: Sequence[str]) -> str:
    """The local base that stands in for a model of OpenAI's, whose weights nobody has.

    One of the same name, else one that follows instructions, the largest by its name.

    Raises:
        ValueError: there is no base.
    """
    if not bases:
        raise ValueError("no base is known here")

    def rank(name: str) -> tuple[bool, bool, float, str]:
        word = name.lower()
        tuned = any(part in word for part in ("instruct", "chat", "-it"))
        return model.lower() in word, tuned, _size(word), name

    return max(bases, key=rank)


def _size(name: str) -> float:
    """Parameters, by a part of a name such as `135m` or `7b`."""
    units = {"m": 1e6, "b": 1e9}
    sizes = [0.0]
    for part in name.split("-"):
        digits = part[:-1].replace(".", "", 1)
        if part[-1:] in units and digits.isascii() and digits.isdigit():
            sizes.append(float(part[:-1]) * units[part[-1]])
    return max(sizes)


def convert(given: Mapping[str, Any], name: str, around: Around) -> Conversion:
    """The manifest of a job.

    Args:
        given: as `flat` gives it.
        name: of the adapter.
    """
    draft = Draft(given)
    draft.put("adapter.name", name)
    draft.apply(RULES)
    kind = draft.get("method.type")
    _base(draft, around)
    draft.put("method.kind", "lora")
    if kind not in _OBJECTIVES:
        draft.refuse("method.type", f"the method `{str(kind)[:40]}` is not there")
        return draft.finish(PROGRAM, RULES)
    draft.map("method.type", "objective.kind", _OBJECTIVES[kind])
    answer = _rows(draft, around, kind)
    _hyperparameters(draft, kind, around)
    if kind == "reinforcement":
        put_grader(draft, "method.grader", answer)
    seed = draft.get("seed")
    if isinstance(seed, int) and 0 <= seed < 2**31:
        draft.map("seed", "train.seed", seed)
    elif seed is not None:
        draft.refuse("seed", "it is no whole number from 0 to 2147483647")
    _integrations(draft)
    held_out = around.files.get(str(given.get("validation_file")))
    columns = () if held_out is None else tuple(n for n in held_out.texts if n != answer)
    judged = "test" in draft.manifest.get("data", {})
    put_criteria(draft, around.evals, judged=judged, columns=columns)
    return draft.finish(PROGRAM, RULES)


def _base(draft: Draft, around: Around) -> None:
    model = str(draft.get("model", ""))
    draft.put("base.model", around.base)
    if not model.startswith("ft:"):
        why = "its weights are OpenAI's: this is the nearest base here; --base names another"
        draft.note("model", "differs", "base.model", why=why)
    elif model in around.made:
        draft.put("start.from", f"{around.made[model]}@1")
        why = f"build `{around.made[model]}` first, which this one continues"
        draft.note("model", "differs", "start.from", "base.model", why=why)
    else:
        why = "the job that made it is not among these: the training begins from the base"
        draft.note("model", "differs", "base.model", why=why)


def _rows(draft: Draft, around: Around, kind: str) -> str | None:
    """The files; returns the column that is a reinforcement's reference answer, if there is one."""
    answer: str | None = None
    for key, paths in (("training_file", ("train",)), ("validation_file", ("validation", "test"))):
        wanted = draft.get(key)
        if wanted is None:
            if key == "training_file":
                draft.refuse(key, "no file is named")
            continue
        file = around.files.get(str(wanted))
        if file is None:
            draft.refuse(key, "it is not in the folder: `client.files.content` gives its bytes")
            continue
        form = _FORMATS.get((kind, file.kind))
        if kind == "reinforcement" and file.kind == "reinforcement" and not file.fault:
            answer = answer or _answer_column(draft, file)
            form = "prompt-completion" if answer in file.texts else None
        if file.fault or form is None:
            said = f"`{kind}` does not learn from its {file.kind} rows"
            if kind == file.kind:
                said = "its rows have no text that is each row's own answer"
            draft.refuse(key, file.fault or said)
            continue
        if key == "training_file":
            draft.put("data.format", form)
            if answer is not None:
                draft.put("data.columns", {"prompt": "messages", "completion": answer})
        elif draft.manifest.get("data", {}).get("format", form) != form:
            draft.refuse(key, "its rows have another format than the training file's")
            continue
        for path in paths:
            draft.put(f"data.{path}", file.path)
        why = f"`{answer}` is each row's own answer, which rewards read" if answer else ""
        draft.note(key, "mapped", *(f"data.{path}" for path in paths), why=why)
    return answer


def _answer_column(draft: Draft, file: RowsFile) -> str | None:
    """The text that the grader reads of a row, else the only one there is."""
    said = str(draft.get("method.grader", ""))
    read = [name for name in file.texts if f"item.{name}" in said.replace(" ", "")]
    return next(iter(read or file.texts), None)


def _hyperparameters(draft: Draft, kind: str, around: Around) -> None:
    for name, path in (("n_epochs", "train.epochs"), ("batch_size", "train.batch_size")):
        value = _number(draft, name, whole=True)
        if value is not None:
            draft.map(f"hyperparameters.{name}", path, float(value) if path[-1] == "s" else value)
    times = _number(draft, "learning_rate_multiplier")
    if times is not None:
        rate = float(f"{around.rate(_OBJECTIVES[kind]) * times:.6g}")
        draft.map(
            "hyperparameters.learning_rate_multiplier", "train.learning_rate", rate,
            why="times the usual rate here; OpenAI's own is not known", differs=True,
        )  # fmt: skip
    if kind == "dpo":
        beta = _number(draft, "beta")
        if beta is not None:
            draft.map("hyperparameters.beta", "objective.beta", float(beta))
    if kind == "reinforcement":
        times = _number(draft, "compute_multiplier")
        if times is not None:
            many = min(256, max(2, round(_GENERATIONS * times)))
            draft.map(
                "hyperparameters.compute_multiplier", "objective.generations", many,
                why="answers sampled to each prompt, which is what is explored with", differs=True,
            )  # fmt: skip


def _number(draft: Draft, name: str, *, whole: bool = False) -> int | float | None:
    """A number above 0; None where it is `auto`, null or refused."""
    key = f"hyperparameters.{name}"
    value = draft.get(key)
    if value == AUTO:
        draft.note(key, "no effect", why="it is left to the plan")
        return None
    if value is None:
        return None
    most = 100_000 if whole else 1e6
    sound = isinstance(value, int) if whole else isinstance(value, int | float)
    if isinstance(value, bool) or not sound or not 0 < value <= most:
        draft.refuse(key, f"it is neither `auto` nor a {'whole ' if whole else ''}number above 0")
        return None
    number: int | float = value
    return number


def _integrations(draft: Draft) -> None:
    listed = draft.get("integrations")
    if not listed:
        draft.note("integrations", "no effect", why="there are none")
        return
    if not isinstance(listed, list):
        draft.refuse("integrations", "it is no list")
        return
    tables = [_tracked(one) for one in listed]
    if None in tables:
        draft.refuse("integrations", "of OpenAI's, wandb is there, with a project")
        return
    why = "the key is `WANDB_API_KEY` of the environment"
    draft.map("integrations", "train.tracking", tables, why=why, differs=True)


def _tracked(one: Any) -> dict[str, Any] | None:
    """An integration as `[[train.tracking]]` has it; None for what is no wandb's."""
    given = one.get("wandb") if isinstance(one, Mapping) and one.get("type") == "wandb" else None
    if not isinstance(given, Mapping) or not isinstance(given.get("project"), str):
        return None
    named = {"project": "project", "name": "run", "entity": "entity"}
    values: dict[str, Any] = {"tracker": "wandb"}
    values |= {ours: str(given[key]) for key, ours in named.items() if given.get(key)}
    if tags := given.get("tags"):
        values["tags"] = [str(tag) for tag in tags]
    return values
