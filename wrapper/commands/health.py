"""Does the poller do its work? It writes down how it goes, another process reads."""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from wrapper.builds.directory import read_json
from wrapper.builds.lock import held
from wrapper.config.load import Config
from wrapper.console import line
from wrapper.pushes.repository import Repository

PATIENCE = 3  # intervals without an answer


def write(builds: Path, repositories: Iterable[Repository]) -> None:
    """Leaves builds/.health.json, for health()."""
    document = {
        "format": 1,
        "repositories": {
            r.name: {
                "asked": r.feed.answered,
                "compared": r.git.answered,
                "interval": r.spacing,
                "trouble": r.trouble(),
                "lag": r.lag,
                "untold": r.untold,
            }
            for r in repositories
        },
    }
    beside = builds / ".health.json.tmp"
    try:
        beside.write_text(json.dumps(document))
        os.replace(beside, builds / ".health.json")
    except OSError:
        pass  # a full disk is told by those who need the room


def health(config: Config) -> int:
    """Prints a line for each repository. 0 where all is well, else 1."""
    if not held(config.builds / ".lock"):
        print(f"no poller runs for {config.builds} (docker-build-server poll)")
        return 1
    document = read_json(config.builds / ".health.json") or {}
    known = document.get("repositories", {})
    code = 0
    for name in config.repositories:
        ill = _ill(known.get(name), config)
        code = code or int(bool(ill))
        print(line(f"{name}: {ill or _well(known[name])}"))
    return code


def _ill(seen: dict[str, float | str] | None, config: Config) -> str:
    if seen is None:
        return "not asked yet"
    waits = {"asked": seen["interval"], "compared": config.poll_sweep}
    words = {"asked": "GitHub's events were", "compared": "git was"}
    late = []
    for key, wait in waits.items():
        age = time.time() - float(seen[key])
        if age > PATIENCE * float(wait):
            when = f"{age:.0f} s ago" if seen[key] else "never"
            late.append(f"{words[key]} last asked with success {when}")
    untold = float(seen.get("untold", 0))
    if untold and time.time() - untold > PATIENCE * config.poll_sweep:
        age = time.time() - untold
        late.append(f"git has shown a push for {age:.0f} s that no event tells of")
    return "; ".join(filter(None, [*late, str(seen["trouble"])]))


def _well(seen: dict[str, float | None]) -> str:
    age = time.time() - float(seen["asked"] or 0)
    lag = seen["lag"]
    push = f", the last push was staged after {lag:.0f} s" if lag is not None else ""
    return f"ok, asked {age:.0f} s ago{push}"
