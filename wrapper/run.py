"""Scripts, started through sh; each in a session of its own, for signals."""

import contextlib
import os
import threading
from typing import Any

import sh

from wrapper import SCRIPTS, console
from wrapper.builds import Build

_NOTHING = os.open(os.devnull, os.O_RDONLY)  # standard input of all of them
_OPTIONS: dict[str, Any] = {"_in": _NOTHING, "_tty_out": False, "_new_session": True}


class Failed(Exception):
    """A script's exit code, and the last line it had to say."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


def call(
    script: str, *args: str, env: dict[str, str] | None = None, limit: int = 120
) -> str:
    """What a script prints; limit in seconds. Raises Failed (code 124: the limit)."""
    try:
        output = sh.Command("timeout")(
            *("-k", "5", str(limit), str(SCRIPTS / script), *args),
            _env={**os.environ, **(env or {})},
            _decode_errors="surrogateescape",
            **_OPTIONS,
        )
        return str(output)
    except sh.ErrorReturnCode as e:
        said = e.stderr.decode(errors="replace").strip().split("\n")[-1]
        words = console.line(said) or f"exit {e.exit_code}"
        if e.exit_code == 124:
            words = f"{script} did not end within {limit} s"
        raise Failed(e.exit_code, words) from None


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
            with self._lock:
                if self._signal:
                    return 128 + self._signal
                self._process = sh.Command(str(SCRIPTS / "pipeline.sh"))(
                    str(self._build.path),
                    _out=sink,
                    _err=sink,
                    _bg=True,
                    _bg_exc=False,
                    _ok_code=list(range(-64, 256)),
                    **_OPTIONS,
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
