"""Stores that change: edits, compaction, and the generations that stay."""
