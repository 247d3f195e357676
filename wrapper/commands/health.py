"""docker-build-server health: does the poller do its work, by what it wrote down?"""

import time

from wrapper.builds import overview
from wrapper.builds.directory import Newer, read_json
from wrapper.builds.requests import poller_runs
from wrapper.config.load import Config
from wrapper.console import line

PATIENCE = 3  # intervals without an answer


def run(config: Config) -> int:
    """Prints a line for each repository. 0 where all is well, else 1."""
    if not poller_runs(config.builds):
        print(f"no poller runs for {config.builds} (docker-build-server poll)")
        return 1
    try:
        document = read_json(config.builds / ".health.json") or {}
    except Newer as e:
        print(e)
        return 1
    known = document.get("repositories", {})
    about = overview.poller(config.builds)
    ill_host = [f"nothing starts: {words}" for words in about["troubles"]]
    if refused := document.get("statuses"):
        ill_host.append(f"commit statuses are refused: {refused}")
    for words in ill_host:
        print(line(words))
    for name in about["paused"]:
        what = "everything" if name == "*" else name
        print(line(f"{what} is paused (docker-build-server resume)"))
    code = int(bool(ill_host))
    for name in config.repositories:
        ill = _ill(known.get(name), config)
        code = code or int(bool(ill))
        print(line(f"{name}: {ill or _well(known[name])}"))
    return code


def _ill(seen: dict[str, float | str] | None, config: Config) -> str:
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


def _well(seen: dict[str, float | None]) -> str:
    asked = seen["compared"] if seen["asked"] is None else seen["asked"]
    age = time.time() - float(asked or 0)
    lag = seen["lag"]
    push = f", the last push was staged after {lag:.0f} s" if lag is not None else ""
    return f"ok, asked {age:.0f} s ago{push}"
