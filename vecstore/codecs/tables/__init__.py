"""Quantizers whose rows share tables, by row number or by key."""
