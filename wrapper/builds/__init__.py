"""The builds directory as queue and record."""
