"""Our scripts: each in a session of its own, so that a signal reaches all of it.

The pipeline, which is followed and told to end, through sh. What only prints something
through subprocess: it starts in a fraction of the time, and there are many of them.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from datetime import datetime
from itertools import pairwise

import sh

from wrapper import SCRIPTS, console
from wrapper.builds.directory import Build
from wrapper.builds.steps import read_steps

LOOKS = 0.5  # seconds between two looks at how far a build is
MOST = 16 << 20  # bytes that a script may print; 50,000 refs are 4 of it
LAST = 1 << 16  # bytes kept of what it has to say of itself


def last_words(text: str) -> str:
    """The line that says why: the last, but for what git adds behind its reason."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for before, line in pairwise(lines):
        if line == "fatal: Could not read from remote repository.":
            return before
    return lines[-1] if lines else ""


def _drop(source: int, _: str) -> None:
    """Reads a pipe to its end, and closes it."""
    with open(source, "rb", buffering=0) as pipe:
        while pipe.read(1 << 16):
            pass


def _seconds(text: str) -> float:
    """Epoch seconds of a time in RFC 3339; 0 where it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0


class Failed(Exception):
    """A script's exit code, and the last line it had to say."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


def call(
    script: str,
    *args: str,
    env: dict[str, str] | None = None,
    limit: float = 120,
    most: int = MOST,
) -> str:
    """What a script prints; limit in seconds, most in bytes. Raises Failed (code 124:
    the limit, 75: it printed more).
    """
    # Should we be killed, it does not go on: the next poller does the same again.
    command = ["setpriv", "--pdeathsig", "TERM", "timeout", "-k", "5", str(limit)]
    process = subprocess.Popen(
        [*command, f"{SCRIPTS}/{script}", *args],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        out, error = _read(process, most)
        if len(out) > most:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise Failed(75, f"{script} printed more than {most >> 20} MiB")
    if process.returncode == 0:
        return os.fsdecode(bytes(out))
    # A step that keeps its console.log says all on standard output.
    said = (error, out[-LAST:])
    reason = next(
        filter(None, (last_words(t.decode(errors="replace")) for t in said)), ""
    )
    words = console.line(reason) or f"exit {process.returncode}"
    if process.returncode == 124:
        words = f"{script} did not end within {limit} s"
    raise Failed(process.returncode, words)


def _read(process: subprocess.Popen[bytes], most: int) -> tuple[bytearray, bytearray]:
    """Standard output, up to a little more than most; and the end of standard error."""
    assert process.stdout and process.stderr
    out, error = bytearray(), bytearray()
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ, out)
        ready.register(process.stderr, selectors.EVENT_READ, error)
        while ready.get_map() and len(out) <= most:
            for key, _ in ready.select():
                chunk = os.read(key.fd, 1 << 16)
                key.data.extend(chunk)
                if not chunk:
                    ready.unregister(key.fileobj)
            del error[:-LAST]
    return out, error


class Pipeline:
    """One run of pipeline.sh on a build, or of launch.sh, which has another machine do
    that. Its output is relayed to the terminal; where
    that is not wanted there is a line for each step.
    """

    def __init__(self, build: Build) -> None:
        self._build = build
        self._process: sh.RunningCommand | None = None
        self._signal = 0
        self._lock = threading.Lock()

    def run(self) -> int:
        """Returns its exit code, once it has ended and its last line was shown."""
        source, sink = os.pipe()
        shows = console.shows_builds()
        work, about = (console.relay, self._build.repository) if shows else (_drop, "")
        relay = threading.Thread(target=work, args=(source, about), daemon=True)
        relay.start()
        ended = threading.Event()
        if not shows:
            tell = threading.Thread(target=self._tell_steps, args=(ended,), daemon=True)
            tell.start()
        try:
            with self._lock, open(os.devnull) as nothing:
                if self._signal:
                    return 128 + self._signal
                elsewhere = self._build.setting("engine/kind") is not None
                script = "launch.sh" if elsewhere else "pipeline.sh"
                self._process = sh.Command(f"{SCRIPTS}/{script}")(
                    str(self._build.path),
                    _in=nothing,
                    _env={**os.environ, "FROM": self._build.rerun or "", "ASIDE": "1"},
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
        ended.set()
        if not shows:
            tell.join(2)
        return int(self._process.exit_code)

    def _tell_steps(self, ended: threading.Event) -> None:
        """Says how each step has ended, while the pipeline runs, and what came last."""
        build = self._build
        ref = build.ref.removeprefix("refs/heads/").removeprefix("refs/")
        name = f"{build.repository} {ref} {build.commit[:7]}"
        begin = time.time()
        done, told = False, 0
        while not done:
            done = ended.wait(LOOKS)
            steps = [s for s in read_steps(build.path) if s.status is not None]
            steps = [step for step in steps if _seconds(step.began) >= begin - 1]
            for step in steps[told:]:
                how = "" if step.status == "success" else f" {step.status}"
                console.say(name, f"{step.name}{how} {step.seconds:.1f} s")
            told = max(told, len(steps))

    def signal(self, number: int) -> None:
        """TERM or INT for everything the pipeline has started."""
        with self._lock:
            self._signal = number
            # Its truth would be its output: asking for that waits for the end.
            if self._process is not None and self._process.is_alive():
                with contextlib.suppress(ProcessLookupError):
                    self._process.signal_group(number)
