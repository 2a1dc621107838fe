"""Formats: how a record's columns become a row; one file a format (see `format.py`)."""

from adapterworks.builders.data.formats.format import FORMATS, RowFormat, to_rows

__all__ = ["FORMATS", "RowFormat", "to_rows"]
