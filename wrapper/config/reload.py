"""Keeps the configuration up to date, wherever it comes from."""

import threading
import time
from collections.abc import Callable

from wrapper.config import load as config
from wrapper.config import source
from wrapper.config.files import FileWatch
from wrapper.config.load import Config, ConfigError

_QUIET = 0.3  # seconds without a further event after which a change is looked at
_PATIENCE = 1.0  # seconds after which it is looked at anyhow
_RECHECK = 60.0  # seconds; finds what makes no event, as on a network share


def changes(old: Config, new: Config) -> str:
    """What differs, in one line for a person."""
    parts = []
    for key in vars(new).keys() - {"repositories"}:
        before, now = getattr(old, key), getattr(new, key)
        if before != now:
            parts.append(f"{key}: {before} -> {now}")
    was = {name: s.document for name, s in old.repositories.items()}
    is_ = {name: s.document for name, s in new.repositories.items()}
    for word, names in ("added", is_.keys() - was), ("removed", was.keys() - is_):
        if names:
            parts.append(f"{word}: {', '.join(sorted(names))}")
    for name in sorted(was.keys() & is_):
        # those two are every repository's, and told above
        keys = [
            k
            for k in is_[name]
            if k not in ("registry", "engine", "disk_free_min", "build_cache_max")
        ]
        if differ := [k for k in keys if was[name][k] != is_[name][k]]:
            parts.append(f"{name}: {', '.join(differ)}")
    return "; ".join(parts) or "nothing changed"


class ConfigWatch:
    """Keeps a configuration up to date.

    start() returns the first one, or raises ConfigError. From then on on_change gets
    each good one that differs, or is good again; on_error each new reason (lines) why
    what is there cannot be used. The last good one stays until then. Both are called in
    a thread of their own.
    """

    def __init__(
        self,
        name: str,
        on_change: Callable[[Config], None],
        on_error: Callable[[str], None],
    ) -> None:
        self._name, self._on_change, self._on_error = name, on_change, on_error
        self._is_url = source.is_url(name)
        self._answer = source.Answer(b"", None)
        self._content = b""  # what was resolved last
        self._reason: str | None = None  # why what is there now cannot be used
        self._changed, self._stopping = threading.Event(), threading.Event()
        self._file = FileWatch(name, self._changed.set)
        self._thread = threading.Thread(target=self._run, name="config", daemon=True)

    def start(self) -> Config:
        if not self._is_url:
            self._try(self._file.start)
        self._config = config.load(self._name, self._on_error)
        self._thread.start()
        return self._config

    def stop(self) -> None:
        self._stopping.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join()
        self._file.stop()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._changed.wait(self._config.poll_interval if self._is_url else _RECHECK)
            # A change is often several events; a busy folder is not waited for longer.
            until = time.monotonic() + _PATIENCE
            while self._changed.is_set() and time.monotonic() < until:
                self._changed.clear()
                self._stopping.wait(_QUIET)
            if not self._stopping.is_set():
                self._look()

    def _look(self) -> None:
        try:
            content = self._read()
            if content == self._content and self._reason is None:
                return  # to resolve thousands of repositories takes a second
            new = config.resolve(content, self._name)
            self._content = content
        except ConfigError as e:
            if str(e) != self._reason:
                self._reason = str(e)
                self._on_error(self._reason)
            return
        mended, self._reason = self._reason is not None, None
        if new != self._config or mended:
            if self._is_url:
                source.keep(new.builds, self._answer.content)
            self._config = new
            self._on_change(new)

    def _read(self) -> bytes:
        if not self._is_url:
            self._try(self._file.follow)
            return source.read(self._name)
        self._answer = source.fetch(self._name, self._answer.etag) or self._answer
        return self._answer.content

    def _try(self, watch: Callable[[], None]) -> None:
        try:
            watch()
        except OSError as e:
            hint = "see fs.inotify in /proc/sys"
            raise ConfigError(
                self._name, [f"cannot be watched: {e} ({hint})"]
            ) from None
