"""How good word vectors are: analogies, and similarities that people gave."""

from vecstore.judging.analogies import Analogies, Section, analogies
from vecstore.judging.pairs import Pairs, pairs

__all__ = ["Analogies", "Pairs", "Section", "analogies", "pairs"]
