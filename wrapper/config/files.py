"""Notices changes to a file, by watchdog. Callbacks come in threads of their own."""

import os
from collections.abc import Callable
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch


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

    Its folder must exist and stay. stop() and join() of the result end it.
    """
    name = os.path.abspath(path)
    observer = Observer()
    handler = _Handler(lambda paths, _: callback() if name in paths else None)
    observer.schedule(handler, os.path.dirname(name))
    observer.start()
    return observer


def watch_folder(folder: Path, callback: Callable[[], None]) -> BaseObserver:
    """Calls back when something in a folder is made, or renamed into its place.

    The folder must exist and stay. stop() and join() of the result end it.
    """

    def on_event(paths: set[str], kind: str) -> None:
        if kind in ("created", "moved"):
            callback()

    observer = Observer()
    observer.schedule(_Handler(on_event), os.fspath(folder))
    observer.start()
    return observer


def on_the_way(path: str) -> set[str]:
    """The paths whose change can change what a path leads to: the file, its folder,
    each symbolic link on the way. Where something is missing the way ends with it.
    """
    found = set()
    folder, ahead = "/", [part for part in os.path.abspath(path).split("/") if part]
    while ahead:
        there = os.path.normpath(os.path.join(folder, ahead.pop(0)))
        try:
            target = os.readlink(there)
        except OSError:
            target = ""
        if target and there not in found:
            found.add(there)
            folder = "/" if target.startswith("/") else folder
            ahead = [part for part in target.split("/") if part] + ahead
        elif ahead and os.path.isdir(there):
            folder = there
        else:
            return found | {there, folder}
    return found


class FileWatch:
    """Calls back whenever a path may lead to other content than before: the file was
    written or replaced, or a folder or symbolic link on the way to it was.

    follow() must be called after each call back, since the way may be another now.
    It and start() raise OSError where the system watches no more.
    """

    def __init__(self, path: str, callback: Callable[[], None]) -> None:
        self._path, self._callback = path, callback
        self._observer: BaseObserver | None = None
        self._watches: dict[str, ObservedWatch] = {}  # by folder
        self._replaced: set[str] = set()  # watched folders that are no more, or others

    def start(self) -> None:
        self._observer = Observer()
        self._observer.start()
        self.follow()

    def stop(self) -> None:
        if self._observer:
            self._observer.stop()
            self._observer.join()

    def follow(self) -> None:
        """Watches the folders the way leads through now."""
        while self._observer:
            folders = {os.path.dirname(path) for path in on_the_way(self._path)}
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
                self._watches[folder] = watch
            if not missing:  # the way did not change while the watches were made
                return

    def _on_event(self, paths: set[str], kind: str) -> None:
        if kind in ("created", "deleted", "moved"):
            self._replaced |= {path for path in paths if path in self._watches}
        way = on_the_way(self._path)
        if any(path in way or path in self._watches for path in paths):
            self._callback()
