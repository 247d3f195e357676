"""What is not well with a poller, by what it wrote down of itself; and who is told."""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wrapper.builds.directory import Newer, read_json, write_json
from wrapper.config.load import Config, wanted

PATIENCE = 3  # intervals: without an answer, or not well, before that is told


def of_server(document: dict[str, Any]) -> list[str]:
    """What concerns all repositories. document: of builds/.health.json."""
    found = [f"nothing starts: {words}" for words in document.get("host") or []]
    if refused := document.get("statuses"):
        found.append(f"commit statuses are refused: {refused}")
    return found


def of_repository(seen: dict[str, Any] | None, config: Config) -> str:
    """Of one in the document's "repositories"; "": it is well."""
    if seen is None:
        return "not asked yet"
    sweep = float(seen.get("sweep") or config.poll_sweep)
    waits = {"asked": float(seen["interval"]), "compared": sweep}
    words = {"asked": "GitHub's events were", "compared": "git was"}
    late = []
    for key, wait in waits.items():
        if seen[key] is None:  # there are no events of it
            continue
        age = time.time() - float(seen[key])
        if age > PATIENCE * wait:
            when = f"{age:.0f} s ago" if seen[key] else "never"
            late.append(f"{words[key]} last asked with success {when}")
    untold = float(seen.get("untold", 0))
    if untold and time.time() - untold > PATIENCE * config.poll_sweep:
        age = time.time() - untold
        late.append(f"git has shown a push for {age:.0f} s that no event tells of")
    if seen.get("unmatched"):
        late.append('"branches" and "tags" match nothing that git has')
    return "; ".join(filter(None, [*late, str(seen["trouble"])]))


class ServerNotice:
    """Has people told when the server is ill for PATIENCE intervals, or well again.

    That it was told is in builds/.ill.json: the next process says when it is over.
    """

    def __init__(self, builds: Path, tell: Callable[[str, str, str], None]) -> None:
        """tell(target, title, text) is called for each who wants to know."""
        self._tell = tell
        self._file = builds / ".ill.json"
        self._since = math.inf  # monotonic: when it fell ill

    def look(self, config: Config, document: dict[str, Any]) -> None:
        """Looks at what is written to builds/.health.json."""
        found, told = _all(config, document), self._told()
        self._since = min(self._since, time.monotonic()) if found else math.inf
        ill = time.monotonic() - self._since >= PATIENCE * config.poll_interval
        name = os.uname().nodename
        if ill and not told:
            write_json(self._file, {"told": found})
            self._send(config, f"{name} is ill: {found[0]}", "\n".join(found))
        elif told and not found:
            self._send(config, f"{name} is well again", f"It was: {told[0]}")
            self._file.unlink(missing_ok=True)

    def _told(self) -> list[str]:
        try:
            told = (read_json(self._file) or {}).get("told")
        except (OSError, Newer):
            return []
        return [str(words) for words in told] if isinstance(told, list) else []

    def _send(self, config: Config, title: str, text: str) -> None:
        for target in wanted(config, "server"):
            self._tell(target, title, text)


def _all(config: Config, document: dict[str, Any]) -> list[str]:
    """A line for each thing that is not well."""
    known = document["repositories"]
    ill = {name: of_repository(known[name], config) for name in known}
    return of_server(document) + [f"{name}: {ill[name]}" for name in known if ill[name]]
