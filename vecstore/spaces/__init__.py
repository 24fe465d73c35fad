"""Spaces: maps between the vectors of stores, several stores as one, directions, hubs."""

from vecstore.spaces.adaptation import Adaptation, adapt
from vecstore.spaces.alignment import align
from vecstore.spaces.combination import Combined, combine
from vecstore.spaces.directions import direction, remove
from vecstore.spaces.hubness import Hubness, hubness
from vecstore.spaces.ideal import Ideal, ideal
from vecstore.spaces.map import Map
from vecstore.spaces.neighbourhoods import Neighbourhoods

__all__ = [
    "Adaptation",
    "Combined",
    "Hubness",
    "Ideal",
    "Map",
    "Neighbourhoods",
    "adapt",
    "align",
    "combine",
    "direction",
    "hubness",
    "ideal",
    "remove",
]
