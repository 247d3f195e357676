"""Parts of a test: a work tree, the registry, a poller, and how to wait for them."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLE = ROOT / "tests" / "support" / "sample"
LIST = '. "$0" && echo "${steps[@]}"'  # what scripts/lib/steps.sh lists
STEPS = subprocess.run(
    ["bash", "-c", LIST, ROOT / "scripts" / "lib" / "steps.sh"],
    capture_output=True,
    text=True,
    check=True,
).stdout.split()
T = TypeVar("T")
# So that what the user has set up for git does not matter.
GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "Tester",
    "GIT_AUTHOR_EMAIL": "tester@example.com",
    "GIT_COMMITTER_NAME": "Tester",
    "GIT_COMMITTER_EMAIL": "tester@example.com",
}


def wait_for(condition: Callable[[], T], seconds: float = 30, what: str = "") -> T:
    """Calls condition until it returns something true, and returns that."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds} s: {what or condition}")
        time.sleep(0.02)
    return value


def application(base_image: str, version: str = "1.0.0") -> dict[str, str]:
    """The files of a Node.js application that is quickly built and tested."""
    package = {
        "name": "app",
        "version": version,
        "license": "MIT",
        "scripts": {"test": "node test.js"},
    }
    return {
        "package.json": json.dumps(package),
        "test.js": "console.log('the test ran')\n",
        ".dockerignore": ".git\n",
        "Dockerfile": f"FROM {base_image}\nWORKDIR /app\nCOPY . .\n",
    }


class Tree:
    """A work tree whose origin is the stand-in (name: OWNER/NAME)."""

    def __init__(self, folder: Path, name: str, url: str) -> None:
        self.folder, self.name, self.url = folder, name, url
        folder.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        self.git("remote", "add", "origin", url)

    def git(self, *args: str) -> str:
        """What git prints, stripped; a failure shows what it said."""
        command = ["git", "-C", str(self.folder), *args]
        done = subprocess.run(
            command, env=os.environ | GIT, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def commit(
        self, files: dict[str, str] | None = None, message: str = "fix: it"
    ) -> str:
        """Writes the files, commits everything, empty or not; returns the commit."""
        for name, content in (files or {}).items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.head

    def push(self, *refspecs: str) -> str:
        """Pushes refspecs (default: main), with force; returns the head commit."""
        self.git("push", "-q", "--force", "origin", *(refspecs or ["main"]))
        return self.head

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")


class Registry:
    """The registry at address (HOST:PORT), asked by its own HTTP API."""

    def __init__(self, address: str) -> None:
        self.address = address

    def get(self, path: str) -> requests.Response:
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        url = f"http://{self.address}/v2/{path}"
        return requests.get(url, headers={"Accept": kind}, timeout=10)

    def tags(self, image: str) -> set[str]:
        """Empty when there is no such image."""
        return set(self.get(f"{image}/tags/list").json().get("tags") or ())

    def digest(self, image: str, tag: str) -> str:
        answer = self.get(f"{image}/manifests/{tag}")
        answer.raise_for_status()
        return answer.headers["Docker-Content-Digest"]

    def config(self, image: str, tag: str) -> dict[str, Any]:
        """The image's own description: .config.Labels and so on."""
        config = self.get(f"{image}/manifests/{tag}").json()["config"]["digest"]
        found: dict[str, Any] = self.get(f"{image}/blobs/{config}").json()
        return found


class Poller:
    """`docker-build-server poll` in a session of its own; `output`: all it said."""

    def __init__(
        self, config: Path, log: Path, env: dict[str, str], *args: str
    ) -> None:
        self._log = log
        command = [
            sys.executable,
            "-m",
            "wrapper",
            "poll",
            "-v",
            "--config",
            str(config),
        ]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, *args],
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(
        self, condition: Callable[[], T], seconds: float = 60, what: str = ""
    ) -> T:
        """As wait_for, but ends at once when the poller has, and shows its output."""

        def alive() -> T:
            value = condition()
            if not value and self.process.poll() is not None:
                pytest.fail(
                    f"the poller ended ({self.process.returncode}):\n{self.output}"
                )
            return value

        try:
            return wait_for(alive, seconds, what)
        except pytest.fail.Exception:
            print(self.output)
            raise

    def said(self, text: str, seconds: float = 30) -> None:
        """Waits until it has said this."""
        self.wait_for(lambda: text in self.output, seconds, f"said {text!r}")

    def stop(self, number: int = signal.SIGTERM, seconds: float = 30) -> int:
        """Signals the poller alone, once it can take that; returns its exit code."""
        wait_for(self._minds_signals, what="minds signals")
        send(self.process.pid, number)
        return self.process.wait(seconds)

    def _minds_signals(self) -> bool:
        """Has it ended, or begun to handle TERM, its last? Before it would just die."""
        if self.process.poll() is not None:
            return True
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        [caught] = re.findall(r"SigCgt:\s*(\w+)", status)
        return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)

    def kill(self) -> None:
        """kill -9 of the poller and of all it has started, in whatever session."""
        stopped: set[int] = set()  # what is stopped starts nothing more
        while new := {self.process.pid, *descendants(self.process.pid)} - stopped:
            stopped |= new
            for pid in new:
                send(pid, signal.SIGSTOP)
        for pid in stopped:
            send(pid, signal.SIGKILL)
        self.process.wait(10)


def send(pid: int, number: int) -> None:
    """A signal, unless it is too late for one."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def descendants(pid: int) -> list[int]:
    """Processes started by pid, directly or not, that live."""
    children: list[int] = []
    try:
        for tasks in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (tasks / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        return []
    return children + [below for child in children for below in descendants(child)]


def results(builds: Path, name: str) -> list[dict[str, Any]]:
    """result.json of each finished build of a repository, oldest first."""
    found = sorted(builds.glob(f"{name}/*Z-*/result.json"))
    return [json.loads(path.read_text()) for path in found]
