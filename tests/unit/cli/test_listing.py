"""codecs and formats."""

from __future__ import annotations

import importlib.metadata

import pytest
from vecstore.formats import FORMATS

from vecstore.cli import listing
from vecstore.codecs import registry


def test_codecs(good):
    text = good("codecs").stdout
    assert all(name in text for name in registry.codec_names()) and "bin/sq:8" in text and "slash" in text


def test_plug_ins_are_marked_and_broken_ones_named(good, monkeypatch):
    broken = importlib.metadata.EntryPoint("mine", "nowhere_at_all:Codec", "vecstore.codecs")
    monkeypatch.setattr(registry, "_plugins", lambda: {"mine": broken})
    text = good("codecs").stdout
    assert "mine (plug-in)" in text and "cannot be loaded" in text and "opq:48" in text


def test_formats(good):
    text = good("formats").stdout
    assert all(name in text for name in FORMATS) and ".feather" in text


@pytest.mark.parametrize(
    ("library", "state"), [("numpy", "numpy, installed"), ("no_such_library", "pip install no_such_library")]
)
def test_libraries(library, state):
    assert listing._state(library) == state
