"""What is not well with a poller, by what it wrote down of itself; and who is told."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wrapper.builds.directory import Newer, read_json, write_json
from wrapper.builds.trouble import kind
from wrapper.config.load import Config, wanted

PATIENCE = 3  # intervals: without an answer, or not well, before that is told
MOST = 20  # lines of a message
WELL = ""  # the kind of a server that nothing is wrong with


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
    """Has people told what was ill with the server for PATIENCE intervals, each thing
    once, and that it is well again, when it was for as long.

    What was told is in builds/.ill.json: the next process says when it is over.
    """

    def __init__(self, builds: Path, tell: Callable[[str, str, str], None]) -> None:
        """tell(target, title, text) is called for each who wants to know."""
        self._tell = tell
        self._file = builds / ".ill.json"
        self._told = self._read()
        self._since: dict[str, float] = {}  # monotonic: since when, by kind; WELL too

    def look(self, config: Config, document: dict[str, Any]) -> None:
        """Looks at what is written to builds/.health.json."""
        found, now = _all(config, document), time.monotonic()
        lines = {kind(line): line for line in found} or {WELL: ""}
        self._since = {one: self._since.get(one, now) for one in lines}
        patience = PATIENCE * config.poll_interval
        lasting = [one for one, at in self._since.items() if now - at >= patience]
        known = set(map(kind, self._told))
        new = [lines[one] for one in lasting if one != WELL and one not in known]
        name = os.uname().nodename
        if new:
            write_json(self._file, {"told": self._told + new})
            self._told += new
            more = [f"and {len(found) - MOST} more"] if len(found) > MOST else []
            text = "\n".join(found[:MOST] + more)
            self._send(config, f"{name} is ill: {new[0]}", text)
        elif self._told and lasting == [WELL]:
            self._send(config, f"{name} is well again", f"It was: {self._told[0]}")
            self._file.unlink(missing_ok=True)
            self._told = []

    def _read(self) -> list[str]:
        try:
            told = (read_json(self._file) or {}).get("told")
        except (OSError, Newer):
            return []
        return [str(words) for words in told] if isinstance(told, list) else []

    def _send(self, config: Config, title: str, text: str) -> None:
        for target in wanted(config, "server"):
            self._tell(target, title, text)


def _all(config: Config, document: dict[str, Any]) -> list[str]:
    """A line for each thing that is not well. At a start many wait for their turn."""
    every = document["repositories"]
    known = {n: one for n, one in every.items() if one["compared"] or one["trouble"]}
    ill = {name: of_repository(known[name], config) for name in known}
    return of_server(document) + [f"{name}: {ill[name]}" for name in known if ill[name]]
