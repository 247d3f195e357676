"""What tests of faults need: services of their own, and builds that hold still."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.github import GitHub
from tests.support.parts import ROOT, Tree, send, wait_for
from wrapper.builds.lock import held

SERVICES = ROOT / "tests" / "support" / "services.bash"
TEST = "/gate/unit-test"


class Service:
    """An engine or a registry (kind) in a folder of its own; its data outlives a stop.

    address: what DOCKER_HOST or REGISTRY is to be.
    """

    def __init__(self, kind: str) -> None:
        self.folder = Path(tempfile.mkdtemp())  # a socket's path has to be short
        self._kind = kind
        self.start()

    def start(self) -> None:
        variable = {"engine": "DOCKER_HOST", "registry": "REGISTRY"}[self._kind]
        self.address = self._bash(f'start_{self._kind} "$1" >&2; echo "${variable}"')

    def stop(self) -> None:
        self._bash(f'stop_{self._kind} "$1" >&2')

    def freeze(self) -> None:
        """The registry answers no more, until it is thawed or stopped."""
        send(self._pid, signal.SIGSTOP)

    def thaw(self) -> None:
        send(self._pid, signal.SIGCONT)

    def kill(self) -> None:
        send(self._pid, signal.SIGKILL)

    def end(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    @property
    def _pid(self) -> int:
        return int((self.folder / f"{self._kind}.pid").read_text())

    def _bash(self, words: str) -> str:
        command = ["bash", "-euc", f'. "$0"; {words}', str(SERVICES), str(self.folder)]
        return subprocess.check_output(command, text=True).strip()


@contextmanager
def service(kind: str) -> Iterator[Service]:
    one = Service(kind)
    try:
        yield one
    finally:
        one.end()


def gated(
    tree: Tree, hub: GitHub, run: str = "true", ballast: int = 0
) -> dict[str, Any]:
    """Commits an application of busybox alone; returns its settings.

    Its install script, its Dockerfile and its test ask the stand-in at /gate/STEP, and
    the Dockerfile runs what `run` says. ballast: MB that nothing makes smaller.
    """
    hub.fault("/gate/", times=-1, status=200)
    busybox = shutil.which("busybox")
    assert busybox, "busybox is not installed"
    shutil.copy(busybox, tree.folder / "busybox")
    (tree.folder / "ballast").write_bytes(os.urandom(ballast * 10**6))
    install = f"./busybox wget -qO- {hub.url}/gate/npm-install"
    package = {"name": "app", "version": "1.0.0", "scripts": {"preinstall": install}}
    shell = json.dumps(["/bin/busybox", "sh", "-c", f"{run}; : {tree.name}"])
    tree.commit(
        {
            "package.json": json.dumps(package),
            ".dockerignore": ".git\n",
            "Dockerfile": "FROM scratch\nCOPY busybox /bin/busybox\n"
            f"COPY ballast /\nADD {hub.url}/gate/build /gate\nRUN {shell}\n",
        }
    )
    test = ["/bin/busybox", "wget", "-qO-", hub.url + TEST]
    return {"test": {"command": test, "network": "host"}}


class Gate:
    """Holds up a step of a gated application: it neither fails nor ends.

    For tag-push the application needs BALLAST: its upload must last a moment.
    """

    BALLAST = 24

    def __init__(self, step: str, name: str, hub: GitHub, registry: Service) -> None:
        self.step, self._hub, self._registry = step, hub, registry
        self._opened = threading.Event()
        self._uploads = f"registry/**/{name}/_uploads/*/data" * (step == "tag-push")
        self._path = "/git-upload-pack" if step == "clone" else f"/gate/{step}"

    def close(self) -> None:
        """While no build runs, since git may ask for other reasons."""
        if not self._uploads:
            self._hub.requests.clear()
            self._opened.clear()
            self._hub.fault(f"{self._path}$", times=-1, call=self._wait, status=200)
            self._hub.faults.insert(0, self._hub.faults.pop())

    def reached(self) -> bool:
        """Is the step held up? A registry is held up in the middle of an upload."""
        if not self._uploads:
            return any(r.path.endswith(self._path) for r in self._hub.requests)
        if not any(self._registry.folder.glob(self._uploads)):
            return False
        self._registry.freeze()
        return True

    def open(self) -> None:
        if self._uploads:
            self._registry.thaw()
        else:
            self._opened.set()
            self._hub.faults.pop(0)

    def _wait(self) -> None:
        while not self._opened.is_set() and not self._hub.closing.wait(0.02):
            pass


def processes(name: str) -> list[str]:
    """What runs for a repository, by its name in arguments, environment or folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            about = command + (process / "environ").read_bytes()
            about += os.fsencode(os.readlink(process / "cwd"))
        except OSError:  # ended since
            continue
        if name.encode() in about and int(process.name) != os.getpid():
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def nothing_left(builds: Path, name: str, docker: Any) -> None:
    """No process, no container and no lock of a repository's builds."""
    wait_for(lambda: not processes(name), 20, f"an end of {processes(name)}")
    mark = f"name=docker-build-server.{name.replace('/', '.')}"
    assert not docker("ps", "-aq", "--filter", mark)
    # A process that was killed may still be closing its files.
    locked = [path for path in builds.rglob("*lock") if held(path)]
    wait_for(lambda: not any(map(held, locked)), 5, f"locks held: {locked}")


class Reader(threading.Thread):
    """Reads every JSON file of ours over and over; `broken`: what was no JSON."""

    def __init__(self, builds: Path) -> None:
        super().__init__(daemon=True)
        self.broken: dict[str, bytes] = {}
        self.read = 0
        self._builds = builds
        self._done = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._done.wait(0.02):
            for depth in "", "*/*/", "*/*/[0-9]*/":
                for path in self._builds.glob(f"{depth}*.json"):
                    self._parse(path)

    def stop(self) -> None:
        self._done.set()
        self.join()

    def _parse(self, path: Path) -> None:
        try:
            content = path.read_bytes()
        except OSError:
            return  # removed since
        try:
            assert json.loads(content)["format"] == 1
            self.read += 1
        except (ValueError, KeyError, AssertionError):
            self.broken[str(path)] = content[:200]
