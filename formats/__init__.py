"""Dumps: files of keys and vectors that others wrote, read in batches and written back on export."""

from vecstore.formats.catalog import FORMATS, all_formats
from vecstore.formats.dump import Batch, Dump, KeyType, Problem
from vecstore.formats.export import write_dump
from vecstore.formats.format import Format, Output
from vecstore.formats.head import Head
from vecstore.formats.opener import open_dump
from vecstore.formats.reading import ReadingOptions

__all__ = [
    "FORMATS",
    "Batch",
    "Dump",
    "Format",
    "Head",
    "KeyType",
    "Output",
    "Problem",
    "ReadingOptions",
    "all_formats",
    "open_dump",
    "write_dump",
]
