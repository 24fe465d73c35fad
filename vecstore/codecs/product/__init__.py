"""Quantizers with codebooks of vectors: products of subspaces, or sums."""
