"""`[data]` and its tables: where the rows come from."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from adapterworks.manifests.data_gates import DataGates, standard_gates
from adapterworks.manifests.named import Named
from adapterworks.manifests.values import Frozen, PositiveFloat, PositiveInt, Share

Format = Annotated[str, Named("formats")]


class MixTable(Frozen):
    """`[[data.mix]]`: one further source of training rows."""

    source: str
    """A recipe, a file or a Hub data set, as in `data.train`."""
    weight: PositiveFloat = 1.0
    """How often each of its rows is taken: 0.5 keeps half of them, 2 takes each twice."""
    format: Format | None = None
    """Its format, if other than `data.format`."""
    columns: dict[str, str] | None = None
    """Other column names of this source; those of `data.columns` if it has no format of its own."""
    limit: PositiveInt | None = None
    """Use at most this many of its rows, before they are weighted."""


class ReplayTable(Frozen):
    """`[data.replay]`: rows mixed in to prevent forgetting."""

    source: str
    """General rows: a recipe, a file, a dataset or a Hub data set, as in `data.train`. Or
    `"lineage"`: what every release that `[start]` goes back to was trained on."""
    share: Share = 0.05
    """Replayed rows as a share of the training rows."""
    format: Format | None = None
    """Its format, if other than `data.format`."""
    columns: dict[str, str] | None = None
    """Other column names of this source; those of `data.columns` if it has no format of its own."""


class AugmentTable(Frozen):
    """`[data.augment]`: deterministic augmentation of training rows."""

    paraphrase_templates: tuple[str, ...] = ()
    """Templates that rephrase the question; each contains `{prompt}`."""
    lexicon: str | None = None
    """A `.json` or `.csv` file of synonyms, one group of words a row (relative to the manifest)."""
    share: Share = 0.0
    """Augmented copies as a share of the training rows."""


class DataTable(Frozen):
    """`[data]`: where the rows come from and how a row becomes a conversation.

    A source is a built-in recipe (`icd-10-cm:train`), a `.jsonl`, `.json`, `.csv` or `.tsv` file
    (also `.gz` and `.zst`), a `.parquet`, `.arrow` or `.xlsx` file, a folder (`rows/`) or pattern
    (`rows/*.jsonl`) of such, relative to the manifest, `hub:org/dataset@revision#split`, with a
    configuration `hub:org/dataset@revision#configuration:split`, or a dataset of the registry,
    `dataset:medical-failures@3`, with `#test` where another split than the key's is meant. What
    parts the cells of a `.csv` is told by a first line `sep=;`, else by its header: commas, else
    semicolons, tabs or `|`. Of a workbook the first sheet is read.
    """

    train: str
    """The training rows."""
    validation: str | None = None
    """The validation rows; if not given, `validation_share` of the training rows is held out."""
    test: str | None = None
    """The test rows: what base and adapter are compared on."""
    test_share: Share = 0.0
    """Share of the training rows held out as test rows when `test` is not given. A row is on one
    side by its content, so that new rows move no old one."""
    format: Format = "messages"
    """The format of a row (see `adapters formats`)."""
    system: str | None = None
    """A system message put before every conversation that has none."""
    columns: dict[str, str] = {}  # noqa: RUF012 – pydantic copies it
    """Other column names: the format's name → the source's name."""
    ignore: tuple[str, ...] = ()
    """Columns, and keys of turns, that may be passed over: what could change a row's meaning and is
    not read is a fault otherwise."""
    tenants: tuple[str, ...] = ()
    """The other tenants whose shared datasets it may be trained on."""
    limit: PositiveInt | None = None
    """Use at most this many training rows."""
    limit_validation: PositiveInt | None = None
    """Use at most this many validation rows."""
    limit_test: PositiveInt | None = None
    """Use at most this many test rows."""
    validation_share: Share = 0.05
    """Share of the training rows held out when `validation` is not given."""
    mix: tuple[MixTable, ...] = ()
    replay: ReplayTable | None = None
    augment: AugmentTable = AugmentTable()
    gates: DataGates = Field(default_factory=standard_gates)

    @property
    def has_test(self) -> bool:
        """Whether there are test rows: of a source, or held out."""
        return self.test is not None or self.test_share > 0
