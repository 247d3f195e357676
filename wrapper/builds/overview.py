"""How the poller of a builds folder is: does it run, is it paused, what troubles it?"""

import os
import time
from pathlib import Path
from typing import Any

from wrapper.builds.directory import Newer, folders, read_json
from wrapper.builds.lock import read_holder
from wrapper.builds.requests import poller_runs


def poller(builds: Path, repository: str | None = None) -> dict[str, Any]:
    """What `status --json` has of it: running, pid, paused (repositories, or "*") and
    troubles (of the host, in words).
    """
    runs = poller_runs(builds)
    pid = read_holder(builds / ".lock").pid if runs else ""
    wanted = [builds / repository] if repository else folders(builds)
    paused = ["*"] if os.path.exists(builds / ".pause") else []
    paused += [
        "/".join(folder.parts[-2:])
        for folder in wanted
        if os.path.exists(folder / ".pause")  # which a closed folder is no error to
    ]
    return {
        "running": runs,
        "pid": int(pid) if pid else None,
        "paused": paused,
        "troubles": host_troubles(builds) if runs else [],
    }


def host_troubles(builds: Path) -> list[str]:
    """What the poller finds wrong with its host: nothing starts as long as it is."""
    found = health(builds).get("host")
    return [str(words) for words in found] if isinstance(found, list) else []


def health(builds: Path) -> dict[str, Any]:
    """What the poller has written of itself; {} where it has not, or it is closed."""
    try:
        return read_json(builds / ".health.json") or {}
    except (Newer, OSError):
        return {}


def remarks(about: dict[str, Any], builds: Path) -> list[str]:
    """What stands above a list of builds, of what poller() says."""
    found = []
    if not about["running"]:
        found.append(f"no poller runs for {builds} (docker-build-server poll)")
    for name in about["paused"]:
        file = builds / ".pause" if name == "*" else builds / name / ".pause"
        what = "everything" if name == "*" else name
        found.append(
            f"paused{_by(file)}: {what}; nothing of it starts ({resume(name)})"
        )
    return found + [f"nothing starts: {words}" for words in about["troubles"]]


def resume(name: str) -> str:
    """The command that ends a pause: of a repository, or "*", everything."""
    return "docker-build-server resume" + ("" if name == "*" else f" {name}")


def _by(file: Path) -> str:
    """Since when, and by whom: as the file says, else as it is."""
    try:
        at, by = file.read_text(errors="replace").split(maxsplit=1)
        return f" since {at} by {by.strip()}"
    except OSError:
        return ""
    except ValueError:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(file.stat().st_mtime))
        return f" since {at}"
