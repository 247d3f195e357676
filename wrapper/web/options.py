"""What `serve` was told on its command line, checked; none of it is in config.json,
which it can write: a PUT must not widen a token.
"""

import hmac
import ipaddress
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

RIGHTS = ("builds", "steps", "publish", "config")
SHORTEST = 24  # characters of a token


class Refused(Exception):
    """serve was called in a way that it does not take; as text: why, what to do."""


@dataclass(frozen=True)
class Options:
    source: str  # of the configuration: a file or URL
    listen: str = "127.0.0.1:7070"  # HOST:PORT, or unix:PATH
    token_file: Path | None = None
    hook_secret_file: Path | None = None
    allow: frozenset[str] = frozenset()  # of RIGHTS
    hosts: frozenset[str] = frozenset()  # names by which it may be asked
    url: str | None = None  # where people find it, behind a proxy
    public_read: bool = False  # who reads needs no token
    public_badge: bool = False  # nor does a badge

    def check(self) -> None:
        """Raises Refused."""
        if unknown := self.allow - set(RIGHTS):
            words = f"--allow {','.join(sorted(unknown))} is no right"
            raise Refused(f"{words} (of {', '.join(RIGHTS)})")
        if self.token_file:
            read_secrets(self.token_file)
        elif self.allow:
            what = ",".join(sorted(self.allow))
            raise Refused(f"--allow {what} needs a --token-file: who may do that?")
        if self.hook_secret_file:
            read_secrets(self.hook_secret_file, 16)
        host, _ = self.address
        if host and not is_loopback(host) and not (self.token_file or self.public_read):
            words = f"--listen {self.listen} is not this machine alone"
            raise Refused(f"{words}: it needs a --token-file (or --public-read)")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port; ("", 0) for a socket in the file system."""
        if self.listen.startswith("unix:"):
            return "", 0
        found = re.fullmatch(r"(?:\[(.+)\]|([^:]*)):(\d{1,5})", self.listen)
        if not found or int(found[3]) > 65535:
            raise Refused(f"--listen {self.listen} is neither HOST:PORT nor unix:PATH")
        return found[1] or found[2] or "0.0.0.0", int(found[3])


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_secrets(path: Path, shortest: int = SHORTEST) -> list[str]:
    """The lines of a file of secrets, which nobody else may read. Raises Refused."""
    try:
        mode = path.stat().st_mode
        lines = path.read_text().split()
    except (OSError, UnicodeDecodeError) as e:
        reason = e.strerror if isinstance(e, OSError) else "it is not UTF-8"
        raise Refused(f"{path} cannot be read: {reason}") from None
    # Of systemd's credentials the mode shows the mask of an ACL.
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if mode & 0o077 and str(path.parent) != credentials:
        raise Refused(f"{path} can be read by others (chmod 600 {path})")
    if not lines or min(map(len, lines)) < shortest:
        raise Refused(
            f"{path} needs {shortest} characters or more a line (openssl rand -hex 24)"
        )
    return lines


@dataclass
class Secrets:
    """The lines of a file, read again when it changes: several are a rotation."""

    file: Path | None
    shortest: int = 24
    _mark: tuple[int, ...] = ()
    _lines: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """None of them where the file is not as it should be: then nothing is valid."""
        if not self.file:
            return []
        try:
            about = self.file.stat()
            mark = about.st_mtime_ns, about.st_ino, about.st_size, about.st_mode
            if mark != self._mark:
                self._lines = read_secrets(self.file, self.shortest)
                self._mark = mark
        except (OSError, Refused):
            self._lines, self._mark = [], ()
        return self._lines

    def match(self, word: str) -> bool:
        """In constant time."""
        given = word.encode(errors="replace")
        found = [hmac.compare_digest(given, known.encode()) for known in self.lines()]
        return any(found)
