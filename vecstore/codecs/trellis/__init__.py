"""Trellis-coded quantization."""
