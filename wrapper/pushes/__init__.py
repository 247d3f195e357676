"""What has moved, and what is staged."""
