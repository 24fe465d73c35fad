"""Other libraries, measured in the same run: one file each."""
