"""Sentences: the vector of a text as the mean of its tokens' or words' vectors, read from a store."""

from vecstore.sentences.encoder import Encoder, sif_weights
from vecstore.sentences.importing import import_static

__all__ = ["Encoder", "import_static", "sif_weights"]
