"""config.json: read, checked, resolved, read again."""
