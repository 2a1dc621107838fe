"""Sources of rows → numbered records, with the digest of every byte that was read.

Invariant: a record is a mapping of column names to values, numbered from 1 in its source (for text
files, by line); nothing is skipped, and what cannot be read is an error that names file and line.
"""

from adapterworks.builders.data.sources.files import read_file
from adapterworks.builders.data.sources.hub import read_hub
from adapterworks.builders.data.sources.record import Record, Records

__all__ = ["Record", "Records", "read_file", "read_hub"]
