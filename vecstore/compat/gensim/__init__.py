"""gensim's KeyedVectors on a store."""

from vecstore.compat.gensim.keyed_vectors import KeyedVectors

__all__ = ["KeyedVectors"]
