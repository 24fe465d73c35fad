"""Sparse terms: weights of few of many terms, kept as inverted lists."""
