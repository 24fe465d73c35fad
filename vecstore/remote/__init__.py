"""Stores in buckets: objects read in pieces, kept in a cache on disk, and written so that commits are atomic."""
