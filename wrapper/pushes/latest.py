"""Of each ref its newest build, how long the last successes took, what was built last.

A part of state.json, for who wants to show a repository without reading its builds.
"""

import threading
from collections.abc import Container, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from wrapper.builds.directory import Build, Newer
from wrapper.pushes.state import State, noted, save_latest


class LatestBuilds:
    """Kept in memory, and put into the file whenever that is written.

    Builds start and end in another thread than the visit that reads the state and saves
    it later: neither undoes what the other has noted, nor waits for it.
    """

    def __init__(self, state: State) -> None:
        self._folder: Path = state.folder
        self._latest = state.latest  # replaced, never changed
        self._changing = threading.Lock()  # for a moment
        self._writing = threading.Lock()  # state.json: as long as the disk takes
        self._unwritten = False

    def note(
        self, builds: Iterable[Build], result: dict[str, Any] | None = None
    ) -> None:
        """Builds that were staged, have started or ended; result: as for noted()."""
        with self._changing:
            for build in builds:
                self._latest = noted(self._latest, build, result)
                self._unwritten = True

    def keep(self, refs: Container[str]) -> None:
        """Forgets all other refs."""
        with self._changing:
            self._latest = {r: e for r, e in self._latest.items() if r in refs}

    def save_with(self, state: State) -> None:
        """Saves all of a state."""
        with self._writing:
            self._unwritten = False
            state.latest = self._latest
            state.save()
        self.save()

    def save(self) -> None:
        """Puts what is not written yet into the file, unless that is being written:
        whoever does so looks again afterwards.
        """
        while self._unwritten and self._writing.acquire(blocking=False):
            try:
                self._unwritten = False
                with suppress(OSError, Newer):  # the next one may have more luck
                    save_latest(self._folder, self._latest)
            finally:
                self._writing.release()
