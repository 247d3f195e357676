"""The version of a commit, and the tags and labels of its image."""
