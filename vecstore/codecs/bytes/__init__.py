"""Bytes to bytes, without loss."""
