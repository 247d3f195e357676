"""docker-build-server health: does the poller do its work, by what it wrote down?"""

import time

from wrapper.builds import illness, overview
from wrapper.builds.directory import Newer, read_json
from wrapper.builds.requests import poller_runs
from wrapper.config.load import Config
from wrapper.screen import text


def run(config: Config) -> int:
    """Prints a line for each repository. 0 where all is well, else 1."""
    if not poller_runs(config.builds):
        text(f"no poller runs for {config.builds} (docker-build-server poll)")
        return 1
    try:
        document = read_json(config.builds / ".health.json") or {}
    except Newer as e:
        print(e)
        return 1
    known = document.get("repositories", {})
    about = overview.poller(config.builds)
    ill_host = illness.of_server(document)
    for words in ill_host:
        text(words)
    for name in about["paused"]:
        what = "everything" if name == "*" else name
        text(f"{what} is paused ({overview.resume(name)})")
    code = int(bool(ill_host))
    for name in config.repositories:
        ill = illness.of_repository(known.get(name), config)
        code = code or int(bool(ill))
        text(f"{name}: {ill or _well(known[name])}")
    return code


def _well(seen: dict[str, float | None]) -> str:
    asked = seen["compared"] if seen["asked"] is None else seen["asked"]
    age = time.time() - float(asked or 0)
    lag = seen["lag"]
    push = f", the last push was staged after {lag:.0f} s" if lag is not None else ""
    return f"ok, asked {age:.0f} s ago{push}"
