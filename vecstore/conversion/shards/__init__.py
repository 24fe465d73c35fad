"""From a trained codec to a published store: rows are cut into shards, encoded, written."""
