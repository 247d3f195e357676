"""A step that runs by itself, as a process."""

import os
import subprocess
import threading
from typing import Any

from wrapper import SCRIPTS
from wrapper.builds import slots
from wrapper.builds.directory import Build, now
from wrapper.builds.lock import read_holder
from wrapper.web.progress import runs


class Run:
    """In a session of its own: it goes on without us. It gives its place back."""

    def __init__(self, build: Build, step: str, by: str, place: int) -> None:
        self.build, self.step, self.by = build, step, by
        self.started_at = now()
        self.ended = threading.Event()
        self.code = 0
        self.words = ""  # what it said before the build's console was open
        self._place = place
        self._process = subprocess.Popen(
            [f"{SCRIPTS}/{step}.sh", str(build.path)],
            env=os.environ | {"RUN_BY": by},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # console.log has it
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        try:
            _, said = self._process.communicate()
            lines = said.decode(errors="replace").strip().splitlines()
            self.words = lines[-1] if lines else ""
            self.code = self._process.returncode
        finally:
            slots.give_back(self._place)
            self.ended.set()

    def begun(self) -> bool:
        """Has it the build's lock, or ended?"""
        try:
            holder = read_holder(self.build.path / "lock").pid
        except OSError:
            holder = ""
        return self.ended.is_set() or holder == str(self._process.pid)

    def document(self) -> dict[str, Any]:
        """As runs/STEP.json, of a step that still runs."""
        if self.ended.is_set():
            return {"step": self.step, "running": False} | (
                runs(self.build.path).get(self.step) or {"exit_code": self.code}
            )
        begun = {"step": self.step, "running": True, "by": self.by}
        begun |= {"started_at": self.started_at, "finished_at": None}
        return begun | {"exit_code": None, "message": None}
