"""The file itself: one LMDB map of a JSON description and named, checksummed parts."""
