"""Blocks of rows with a codec each."""
