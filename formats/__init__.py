"""Dumps: files of keys and vectors that others wrote, read in batches and written back on export."""

from vecstore.formats.catalog import FORMATS, Format
from vecstore.formats.dump import Batch, Dump, KeyType
from vecstore.formats.export import write_dump
from vecstore.formats.opener import open_dump

__all__ = ["FORMATS", "Batch", "Dump", "Format", "KeyType", "open_dump", "write_dump"]
