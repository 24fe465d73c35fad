"""Quantizers that code each dimension by itself."""
