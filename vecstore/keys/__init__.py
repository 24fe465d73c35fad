"""Keys of rows: packed, found by hash, and spread over shards."""
