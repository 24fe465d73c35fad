"""Magnitude's classes on a store."""

from vecstore.compat.magnitude.concatenated import ConcatenatedMagnitude
from vecstore.compat.magnitude.magnitude import FeaturizerMagnitude, Magnitude
from vecstore.compat.magnitude.training import MagnitudeUtils

Magnitudes = ConcatenatedMagnitude

__all__ = ["ConcatenatedMagnitude", "FeaturizerMagnitude", "Magnitude", "MagnitudeUtils", "Magnitudes"]
