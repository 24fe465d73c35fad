"""Words as queries: any word a vector, sums and differences, analogies, ranks."""

from vecstore.words.words import Words

__all__ = ["Words"]
