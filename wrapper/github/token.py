"""The token for GitHub, and how a request bears it."""

import os
import re
from pathlib import Path

import requests


class Token(requests.auth.AuthBase):
    """GITHUB_TOKEN_FILE, read again when it changes, else GITHUB_TOKEN, else none."""

    def __init__(self) -> None:
        self._file = os.environ.get("GITHUB_TOKEN_FILE")
        self._value = _sane(os.environ.get("GITHUB_TOKEN", ""))
        self._stamp: tuple[int, int] | None = None

    def value(self) -> str:
        """The token, or "" where there is none."""
        if self._file:
            try:
                status = os.stat(self._file)
                stamp = status.st_mtime_ns, status.st_ino
                if stamp != self._stamp:
                    self._value = _sane(Path(self._file).read_text(errors="replace"))
                    self._stamp = stamp
            except OSError:
                pass  # being replaced: the last one counts
        return self._value

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        if value := self.value():
            r.headers["Authorization"] = f"Bearer {value}"
        return r


def _sane(text: str) -> str:
    """A token is one printable word; anything else would end up in an error's text."""
    text = text.strip()
    return text if re.fullmatch(r"[!-~]+", text) else ""
