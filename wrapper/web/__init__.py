"""The API and the page: files are shown, requests left, scripts called."""
