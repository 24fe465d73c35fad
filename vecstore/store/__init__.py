"""What users open: shards, key maps and a manifest, looked up and searched as one."""
