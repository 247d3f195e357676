"""Notices changes: of the configuration, wherever it comes from, and of one file.

Callbacks run in threads of their own, and must be short.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

from wrapper import config, source
from wrapper.config import Config, ConfigError

_QUIET = 0.3  # seconds without a further event after which a change is looked at
_PATIENCE = 1.0  # seconds after which it is looked at anyhow
_RECHECK = 60.0  # seconds; finds what makes no event, as on a network share


class _Handler(FileSystemEventHandler):
    """Calls back with the one or two paths of each event, and its type."""

    def __init__(self, callback: Callable[[set[str], str], None]) -> None:
        self._callback = callback

    def on_any_event(self, event: FileSystemEvent) -> None:
        # Our own reading makes these; to react to them would never end.
        if event.event_type not in ("opened", "closed_no_write"):
            paths = {os.fsdecode(event.src_path), os.fsdecode(event.dest_path)}
            self._callback(paths, event.event_type)


def watch_file(path: Path, callback: Callable[[], None]) -> BaseObserver:
    """Calls back, once or more, when the file is written, touched, made or removed.

    Its folder must exist. stop() and join() of the result end it.
    """
    name = os.path.abspath(path)
    observer = Observer()
    handler = _Handler(lambda paths, _: callback() if name in paths else None)
    observer.schedule(handler, os.path.dirname(name))
    observer.start()
    return observer


def on_the_way(path: str) -> set[str]:
    """The paths whose change can change what a path leads to: the file, its folder,
    each symbolic link on the way. Where something is missing the way ends with it.
    """
    found = set()
    here, ahead = "/", [part for part in os.path.abspath(path).split("/") if part]
    while ahead:
        there = os.path.normpath(os.path.join(here, ahead.pop(0)))
        if os.path.islink(there) and there not in found:
            found.add(there)
            target = os.readlink(there)
            here = "/" if target.startswith("/") else here
            ahead = [part for part in target.split("/") if part] + ahead
        elif ahead and os.path.isdir(there):
            here = there
        else:
            return found | {there, here}
    return found


def changes(old: Config, new: Config) -> str:
    """What differs, in one line for a person."""
    parts = []
    for key in vars(new).keys() - {"repositories"}:
        before, now = getattr(old, key), getattr(new, key)
        if before != now:
            parts.append(f"{key}: {before} -> {now}")
    was, is_ = old.repositories, new.repositories
    for word, names in ("added", is_.keys() - was), ("removed", was.keys() - is_):
        if names:
            parts.append(f"{word}: {', '.join(sorted(names))}")
    for name in sorted(was.keys() & is_):
        # those two are every repository's, and told above
        keys = [k for k in is_[name] if k not in ("registry", "disk_free_min")]
        if differ := [k for k in keys if was[name][k] != is_[name][k]]:
            parts.append(f"{name}: {', '.join(differ)}")
    return "; ".join(parts) or "nothing changed"


class ConfigWatch:
    """Keeps a configuration up to date.

    start() returns the first one, or raises ConfigError. From then on on_change gets
    each good one that differs, or is good again; on_error each new reason (lines) why
    what is there cannot be used. The last good one stays until then.
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
        self._reason: str | None = None  # why what is there now cannot be used
        self._changed, self._stopping = threading.Event(), threading.Event()
        self._observer: BaseObserver | None = None
        self._watches: dict[str, ObservedWatch] = {}
        self._replaced: set[str] = set()  # watched folders that are no more, or others
        self._thread = threading.Thread(target=self._run, name="config", daemon=True)

    def start(self) -> Config:
        if not self._is_url:
            self._observer = Observer()
            self._observer.start()
            self._follow()
        self._config = config.load(self._name, self._on_error)
        self._thread.start()
        return self._config

    def stop(self) -> None:
        self._stopping.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._observer:
            self._observer.stop()
            self._observer.join()

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
            self._follow()
            new = config.resolve(self._read(), self._name)
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
            return source.read(self._name)
        self._answer = source.fetch(self._name, self._answer.etag) or self._answer
        return self._answer.content

    def _follow(self) -> None:
        """Watches the folders the way to the file leads through now."""
        while self._observer:
            folders = {os.path.dirname(path) for path in on_the_way(self._name)}
            replaced, self._replaced = self._replaced, set()
            stale = {f for f in self._watches if f in replaced or f not in folders}
            missing = folders - (self._watches.keys() - stale)
            for folder in stale:
                self._observer.unschedule(self._watches.pop(folder))
            for folder in missing:
                try:
                    watch = self._observer.schedule(_Handler(self._on_event), folder)
                except FileNotFoundError:
                    continue  # gone since; the next round sees what is there instead
                except OSError as e:
                    reason = f"changes in {folder} cannot be watched: {e}"
                    raise ConfigError(self._name, [reason]) from None
                self._watches[folder] = watch
            if not missing:
                return

    def _on_event(self, paths: set[str], kind: str) -> None:
        if kind in ("created", "deleted", "moved"):
            self._replaced |= {path for path in paths if path in self._watches}
        way = on_the_way(self._name)
        if any(path in way or path in self._watches for path in paths):
            self._changed.set()
