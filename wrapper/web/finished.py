"""How many builds have ended, by the journal: read on from where it was read last."""

import json
import mmap
import os
from pathlib import Path
from typing import Any

STATUSES = ("success", "failure", "error", "cancelled", "superseded", "skipped")


class Finished:
    """count: by repository and status."""

    def __init__(self) -> None:
        self.count: dict[tuple[str, str], int] = {}
        self._offset = 0
        self._inode = 0

    def look(self, builds: Path) -> None:
        path = builds / "journal.jsonl"
        try:
            with path.open("rb") as file:
                inode, size = _about(file)
                if inode != self._inode or size < self._offset:
                    self._inode, self._offset = inode, 0
                if size == self._offset:
                    return
                with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as text:
                    self._count(text, size)
        except (OSError, ValueError):
            return

    def _count(self, text: Any, size: int) -> None:
        end = text.rfind(b"\n", self._offset, size) + 1
        for line in text[self._offset : end].splitlines():
            if b'"finished"' not in line and b'"superseded"' not in line:
                continue
            try:
                about = json.loads(line)
                if about["build"] is None:
                    continue
                what, why = about["what"], str(about["why"])
                status = why.split(":")[0].split(" ")[0]
                status = "superseded" if what == "superseded" else status
                key = str(about["repository"]), status
            except (ValueError, KeyError, TypeError):
                continue
            if what in ("finished", "superseded") and status in STATUSES:
                self.count[key] = self.count.get(key, 0) + 1
        self._offset = end or self._offset


def _about(file: Any) -> tuple[int, int]:
    """Inode and size."""
    about = os.fstat(file.fileno())
    return about.st_ino, about.st_size
