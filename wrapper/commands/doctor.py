"""docker-build-server doctor: one screen that says whether a build could succeed here.

Each check yields findings, a level and a line. FAIL would stop a build, warn would not;
both say what to do.
"""

import os
import platform
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from wrapper import console
from wrapper.builds import host as reach
from wrapper.builds.host import FAIL, OK, WARN, Finding, docker, run
from wrapper.builds.registry import registry
from wrapper.config import schema
from wrapper.config.load import Config, ConfigError, load

_TOOLS = {  # the least version, and where it comes from
    "bash": ("4.4", "install bash 4.4 or later"),
    "git": ("2.31", "install git 2.31 or later"),
    "npm": ("", "install Node.js, or set install.image for each repository"),
    "jq": ("1.6", "install jq 1.6 or later"),
    "flock": ("", "install util-linux"),
    "setpriv": ("2.33", "install util-linux 2.33 or later"),
    "timeout": ("", "install coreutils"),
}


def doctor(name: str) -> int:
    """Prints what it finds; exit code 1 if anything would stop a build."""
    failed = False
    for level, line in _findings(name):
        print(console.line(f"{level:4}  {schema.mask(line)}"), flush=True)
        failed = failed or level == FAIL
    return int(failed)


def _findings(name: str) -> Iterator[Finding]:
    yield from _tools()
    yield from _engine()
    yield from reach.github()
    try:
        config = load(name, lambda line: print(f"{WARN:4}  {line}"))
    except ConfigError as e:
        for line in str(e).splitlines():
            yield FAIL, line
        return
    yield OK, f"{name}: repositories: {len(config.repositories)}"
    yield from _disk(config)
    yield from registry(config.registry)
    with ThreadPoolExecutor(8) as pool:
        found = config.repositories
        yield from pool.map(reach.repository, found.keys(), found.values())


def _tools() -> Iterator[Finding]:
    yield OK, f"python {platform.python_version()}"
    tools = _TOOLS | {docker(): ("", "install docker, or name another in DOCKER")}
    with ThreadPoolExecutor(8) as pool:  # npm alone takes half a second
        yield from pool.map(_tool, tools.items())
    if not shutil.which("git-lfs"):
        yield WARN, "git-lfs: not found (needed by repositories with LFS files)"


def _tool(known: tuple[str, tuple[str, str]]) -> Finding:
    tool, (least, advice) = known
    code, out, error = run(tool, "--version")
    found = re.search(r"\d+(\.\d+)+", out)
    version = found[0] if found else ""
    if code == 127:
        return FAIL, f"{tool}: {error} ({advice})"
    if least and _parts(version) < _parts(least):
        return FAIL, f"{tool} {version} is too old ({advice})"
    return OK, f"{tool} {version}"


def _parts(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def _engine() -> Iterator[Finding]:
    code, _, error = run(docker(), "version", timeout=10)
    if code:
        advice = "start it, join the group docker, or set DOCKER_HOST"
        yield FAIL, f"{docker()} engine: {error} ({advice})"
        return
    yield OK, f"{docker()} engine answers"
    code, _, error = run(docker(), "build", "--help", DOCKER_BUILDKIT="1")
    if code or os.environ.get("DOCKER_BUILDKIT") == "0":
        advice = "several times slower, and not for every Dockerfile; install buildx"
        yield WARN, f"BuildKit is not used ({advice})"
    else:
        yield OK, "BuildKit is used"


def _disk(config: Config) -> Iterator[Finding]:
    folder = config.builds
    while not os.path.exists(folder):  # which a closed folder above is no error to
        folder = folder.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        yield FAIL, f"{folder} cannot be written to (chown it, or set builds)"
    free = shutil.disk_usage(folder).free
    line = f"{free >> 20} MiB are free in {config.builds}"
    if free < config.disk_free_min:
        advice = "make room, or lower disk_free_min"
        yield FAIL, f"{line}, wanted are {config.disk_free_min >> 20} ({advice})"
    else:
        yield OK, line
