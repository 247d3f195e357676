"""Our scripts: each in a session of its own, so that a signal reaches all of it.

The pipeline, which is followed and told to end, through sh. What only prints something
through subprocess: it starts in a fraction of the time, and there are many of them.
"""

import contextlib
import os
import subprocess
import threading
from itertools import pairwise

import sh

from wrapper import SCRIPTS, console
from wrapper.builds.directory import Build


def last_words(text: str) -> str:
    """The line that says why: the last, but for what git adds behind its reason."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for before, line in pairwise(lines):
        if line == "fatal: Could not read from remote repository.":
            return before
    return lines[-1] if lines else ""


class Failed(Exception):
    """A script's exit code, and the last line it had to say."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


def call(
    script: str, *args: str, env: dict[str, str] | None = None, limit: float = 120
) -> str:
    """What a script prints; limit in seconds. Raises Failed (code 124: the limit)."""
    # Should we be killed, it does not go on: the next poller does the same again.
    command = ["setpriv", "--pdeathsig", "TERM", "timeout", "-k", "5", str(limit)]
    done = subprocess.run(
        [*command, f"{SCRIPTS}/{script}", *args],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        start_new_session=True,
    )
    if done.returncode == 0:
        return os.fsdecode(done.stdout)
    # A step called by itself prints all to its output, as it does for console.log.
    reason = last_words((done.stderr or done.stdout).decode(errors="replace"))
    words = console.line(reason) or f"exit {done.returncode}"
    if done.returncode == 124:
        words = f"{script} did not end within {limit} s"
    raise Failed(done.returncode, words)


class Pipeline:
    """One run of pipeline.sh on a build, its output relayed to the terminal."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._process: sh.RunningCommand | None = None
        self._signal = 0
        self._lock = threading.Lock()

    def run(self) -> int:
        """Returns its exit code, once it has ended and its last line was shown."""
        source, sink = os.pipe()
        relay = threading.Thread(
            target=console.relay, args=(source, self._build.repository), daemon=True
        )
        relay.start()
        try:
            with self._lock, open(os.devnull) as nothing:
                if self._signal:
                    return 128 + self._signal
                self._process = sh.Command(f"{SCRIPTS}/pipeline.sh")(
                    str(self._build.path),
                    _in=nothing,
                    _out=sink,
                    _err=sink,
                    _bg=True,
                    _bg_exc=False,
                    _new_session=True,
                    _ok_code=list(range(-64, 256)),
                )
        finally:
            os.close(sink)
        self._process.wait()
        relay.join(2)  # a stray child may hold its end open
        return int(self._process.exit_code)

    def signal(self, number: int) -> None:
        """TERM or INT for everything the pipeline has started."""
        with self._lock:
            self._signal = number
            # Its truth would be its output: asking for that waits for the end.
            if self._process is not None and self._process.is_alive():
                with contextlib.suppress(ProcessLookupError):
                    self._process.signal_group(number)
