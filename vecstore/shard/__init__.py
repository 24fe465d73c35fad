"""One file with codes, keys and parameters of some rows: written once, never changed."""
