"""Quick checks of this host: tools, engine, disk, registry.

Each yields findings. FAIL would stop a build, WARN would not; both say what to do.
"""

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from wrapper import SCRIPTS
from wrapper.builds.process import last_words

OK, WARN, FAIL = "ok", "warn", "FAIL"
PULL = 30.0  # seconds for a registry's answer; the engine itself may try for minutes
_TOOLS = {  # the least version, and where it comes from
    "bash": ("4.4", "install bash 4.4 or later"),
    "git": ("2.31", "install git 2.31 or later"),
    "npm": ("", "install Node.js, or set install.image for each repository"),
    "jq": ("1.6", "install jq 1.6 or later"),
    "skopeo": ("1.9", "install skopeo 1.9 or later"),
    "flock": ("", "install util-linux"),
    "setpriv": ("2.33", "install util-linux 2.33 or later"),
    "timeout": ("", "install coreutils"),
}


class Finding(NamedTuple):
    level: str  # OK, WARN or FAIL
    line: str


class Ran(NamedTuple):
    code: int  # 127: no such tool, 124: it took too long
    out: str
    error: str  # the line of stderr that says why


def docker() -> str:
    return os.environ.get("DOCKER") or "docker"


def run(*command: str, timeout: float = 60, **env: str) -> Ran:
    """Runs a tool, with env added to the environment."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=timeout,
            env={**os.environ, **env},
        )
    except OSError as e:
        return Ran(127, "", e.strerror or str(e))
    except subprocess.TimeoutExpired:
        return Ran(124, "", f"no answer in {timeout:.0f} seconds")
    return Ran(done.returncode, done.stdout, last_words(done.stderr))


def tools() -> Iterator[Finding]:
    yield Finding(OK, f"python {platform.python_version()}")
    wanted = _TOOLS | {docker(): ("", "install docker, or name another in DOCKER")}
    with ThreadPoolExecutor(8) as pool:  # npm alone takes half a second
        yield from pool.map(_tool, wanted.items())
    if not shutil.which("git-lfs"):
        words = "git-lfs: not found (needed by repositories with LFS files)"
        yield Finding(WARN, words)


def missing() -> list[str]:
    """Tools that are not there, in words; quickly, whatever their version."""
    wanted = _TOOLS | {docker(): ("", "install docker, or name another in DOCKER")}
    absent = {tool: why for tool, (_, why) in wanted.items() if not shutil.which(tool)}
    return [f"{tool}: not found ({why})" for tool, why in absent.items()]


def _tool(known: tuple[str, tuple[str, str]]) -> Finding:
    tool, (least, advice) = known
    code, out, error = run(tool, "--version")
    found = re.search(r"\d+(\.\d+)+", out)
    version = found[0] if found else ""
    if code == 127:
        return Finding(FAIL, f"{tool}: {error} ({advice})")
    if least and _parts(version) < _parts(least):
        return Finding(FAIL, f"{tool} {version} is too old ({advice})")
    return Finding(OK, f"{tool} {version}")


def _parts(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def cage() -> Finding:
    """Can npm-install.sh keep strangers' install scripts in a cage here?"""
    code, out, error = run("bash", f"{SCRIPTS}/lib/cage.sh", "check", timeout=10)
    if code:
        words = out.strip() or error or f"cage.sh exits with {code}"
        return Finding(WARN, f"install scripts run without a cage: {words}")
    return Finding(OK, "install scripts run in a cage")


def container(builds: Path, mounts: str = "/proc/self/mountinfo") -> Iterator[Finding]:
    """In a container: is the builds folder at the same path on the engine's host?

    A path that the engine is given, to mount it, is one of its host.
    """
    ours = r"/containers/([0-9a-f]{64})/hostname /etc/hostname "
    if not (found := re.search(ours, Path(mounts).read_text(errors="replace"))):
        return
    command = docker(), "inspect", "--format", "{{json .Mounts}}", found[1]
    try:
        for mount in json.loads(run(*command, timeout=10).out) or []:
            if builds.is_relative_to(mount["Destination"]):
                inside = builds.relative_to(mount["Destination"])
                if Path(mount["Source"], inside) == builds:
                    return
    except (ValueError, KeyError, TypeError):
        return  # it runs on another engine, which may see what we see, or not
    words = f"in a container, and {builds} is not at that path on the engine's host"
    why = "which install.image and test.mount need"
    yield Finding(WARN, f"{words}, {why} (mount it there: -v {builds}:{builds})")


def cluster() -> Iterator[Finding]:
    """Does Kubernetes take jobs of ours?"""
    code, _, error = run("kubectl", "auth", "can-i", "create", "jobs", timeout=10)
    if code:
        advice = "the Role of scripts/image/kubernetes.yaml lets the poller"
        yield Finding(FAIL, f"kubectl cannot create jobs: {error or 'no'} ({advice})")
    else:
        yield Finding(OK, "Kubernetes takes our jobs")


def engine() -> Iterator[Finding]:
    code, _, error = run(docker(), "version", timeout=10)
    if code:
        advice = "start it, join the group docker, or set DOCKER_HOST"
        yield Finding(FAIL, f"{docker()} engine: {error} ({advice})")
        return
    yield Finding(OK, f"{docker()} engine answers")
    code, _, error = run(docker(), "build", "--help", DOCKER_BUILDKIT="1")
    if code or os.environ.get("DOCKER_BUILDKIT") == "0":
        advice = "several times slower, and not for every Dockerfile; install buildx"
        yield Finding(WARN, f"BuildKit is not used ({advice})")
    else:
        yield Finding(OK, "BuildKit is used")


def disk(builds: Path, least: int) -> Iterator[Finding]:
    """The builds folder: may we write there, and are so many bytes free?"""
    folder = builds
    while not os.path.exists(folder):  # which a closed folder above is no error to
        folder = folder.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        words = f"{folder} cannot be written to (chown it, or set builds)"
        yield Finding(FAIL, words)
    free = shutil.disk_usage(folder).free
    line = f"{free >> 20} MiB are free in {builds}"
    if free < least:
        advice = "make room, or lower disk_free_min"
        yield Finding(FAIL, f"{line}, wanted are {least >> 20} ({advice})")
    else:
        yield Finding(OK, line)


def registry(host: str, image: str) -> Finding:
    """Does HOST[:PORT] answer docker as a registry, and know us?

    docker is asked for a tag of the image that is not there. So its own rules count,
    for plain HTTP, certificates, proxies and credentials.
    """
    code, _, error = run(docker(), "pull", f"{host}/{image}:none", timeout=PULL)
    if not code or re.search(_ABSENT, error):
        return Finding(OK, f"registry {host} answers")
    if re.search(_STRANGER, error):
        return Finding(FAIL, f"registry {host} asks who we are (docker login {host})")
    if re.search(_DENIED, error):
        if host == "docker.io":  # which says so of whatever does not exist
            return Finding(OK, f"registry {host} answers")
        advice = f"docker login {host}; if that was done, it may not be there yet"
        return Finding(WARN, f"registry {host} denies us {image} ({advice})")
    advice = "start it, or correct registry in config.json"
    return Finding(FAIL, f"registry {host} cannot be reached: {error} ({advice})")


# As registries say it (the codes of the OCI distribution specification), and docker 28.
_ABSENT = r"manifest unknown|name unknown|: not found$"
_STRANGER = r"(?i)unauthori[sz]ed|no basic auth|authentication required"
_DENIED = r"(?i)denied|forbidden"
