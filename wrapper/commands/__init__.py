"""One file for each word that one types."""
