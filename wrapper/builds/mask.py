"""Covers secrets in what a build prints.

python -P -m wrapper.builds.mask FILE... copies standard input to standard output, with
*** for the text of each file, for each line of it and for its base64, from six
characters on. Nothing is held back for longer than a second.
"""

import os
import re
import select
import sys
from base64 import b64encode
from collections.abc import Callable, Iterable
from pathlib import Path

LEAST = 6  # bytes; a shorter one would cover half of a log
PATIENCE = 1.0  # seconds for the rest of what may be a secret
CHUNK = 1 << 16  # bytes
COVER = b"***"


def forms(secret: bytes) -> set[bytes]:
    """What a secret may look like in an output."""
    text = secret.strip(b"\r\n")
    found = {text, *(line.strip() for line in text.splitlines())}
    found |= {b64encode(each).rstrip(b"=") for each in (text, secret)}
    return {form for form in found if len(form) >= LEAST}


class Mask:
    """Takes pieces of a text and gives them back covered, what may go on held back."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        known = {form for secret in secrets for form in forms(secret)}
        longest_first = sorted(known, key=lambda form: (-len(form), form))
        self._forms = longest_first
        self._pattern = re.compile(b"|".join(map(re.escape, longest_first)) or b"(?!)")
        self.rest = b""

    def __call__(self, piece: bytes) -> bytes:
        covered = self._pattern.sub(COVER, self.rest + piece)
        begin = self._begin(covered)
        self.rest = covered[begin:]
        return covered[:begin]

    def flush(self) -> bytes:
        rest, self.rest = self.rest, b""
        return rest

    def _begin(self, text: bytes) -> int:
        """Where an end begins that could be the beginning of a secret."""
        longest = len(self._forms[0]) - 1 if self._forms else 0
        for begin in range(max(0, len(text) - longest), len(text)):
            end = text[begin:]
            if any(form.startswith(end) for form in self._forms):
                return begin
        return len(text)


def copy(source: int, write: Callable[[bytes], object], mask: Mask) -> None:
    while True:
        if mask.rest and not select.select([source], [], [], PATIENCE)[0]:
            write(mask.flush())
        piece = os.read(source, CHUNK)
        if not piece:
            break
        write(mask(piece))
    write(mask.flush())


def _write(data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(1, rest) :]


def main(paths: list[str]) -> int:
    copy(0, _write, Mask(Path(path).read_bytes() for path in paths))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
