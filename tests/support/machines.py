"""Several machines on this one: engines in namespaces of their own, one Swarm.

Each has a network, a hostname, processes and a work folder; all see the shared folder.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.parts import ROOT, send, wait_for

SUPPORT = ROOT / "tests/support"
CLIENT = os.environ.get("DOCKER") or "docker"


class Machines:
    """node1, the manager, and others; `address`: this machine, as they see it."""

    def __init__(self, count: int, images: list[str]) -> None:
        self.folder = Path(tempfile.mkdtemp())  # a socket's path has to be short
        self.shared, self.work = self.folder / "shared", self.folder / "work"
        self.shared.mkdir()
        self.names = [f"node{n + 1}" for n in range(count)]
        try:
            self.bash(f'start_nodes "$dir" {count}')
            self.address = (self.folder / "address").read_text().strip()
            self.registry = f"{self.address}:5000"
            self.bash(f'start_registry "$dir" {self.registry}')
            self._load(images)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self.bash('stop_registry "$dir"; stop_nodes "$dir"')
        shutil.rmtree(self.folder)

    def bash(self, words: str) -> str:
        """Calls functions of nodes.bash and services.bash, with $dir."""
        files = f'. "{SUPPORT}/services.bash"; . "{SUPPORT}/nodes.bash"; dir=$0'
        command = ["bash", "-euc", f"{files}; {words}", str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def socket(self, node: str = "node1") -> str:
        return f"unix://{self.folder}/{node}/docker.sock"

    def docker(self, *args: str, node: str = "node1") -> str:
        command = [CLIENT, "-H", self.socket(node), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def engine(self, **other: Any) -> dict[str, Any]:
        """The setting `engine`."""
        given = {"shared": str(self.shared), "work": str(self.work)}
        small = {"cpus": 0.1, "memory": "64m", "patience": 60}
        return {"kind": "swarm", "image": self.image, **given, **small, **other}

    def processes(self, node: str) -> list[int]:
        """All that run on the node."""
        init = int((self.folder / node / "dockerd.pid").read_text())
        [inside] = Path(f"/proc/{init}/task/{init}/children").read_text().split()
        space = os.readlink(f"/proc/{inside}/ns/pid")
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(process / "ns/pid") == space or _below(process, inside):
                    found.append(int(process.name))
            except OSError:  # ended since
                continue
        return found

    def freeze(self, node: str, number: int) -> None:
        """SIGSTOP or SIGCONT for all of a node."""
        for pid in self.processes(node):
            send(pid, number)

    def inside(self, node: str, *command: str) -> str:
        """Runs it among the node's mounts."""
        init = int((self.folder / node / "dockerd.pid").read_text())
        [inside] = Path(f"/proc/{init}/task/{init}/children").read_text().split()
        enter = ["nsenter", f"--mount=/proc/{inside}/ns/mnt"]
        return subprocess.check_output([*enter, *command], text=True)

    def agents(self, node: str) -> list[int]:
        """The processes of agent.sh that run there, the first of each."""
        found = []
        for pid in self.processes(node):
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
            if line.startswith(b"tini\0") and b"agent.sh" in line:
                found.append(pid)
        return found

    def containers(self, node: str) -> list[str]:
        """What they run, whether they still do or not."""
        shown = ["ps", "-a", "--no-trunc", "--format={{.Command}}"]
        return self.docker(*shown, node=node).splitlines()

    def clean(self) -> None:
        """Removes jobs and containers, of a test that has failed, say."""
        words = 'on_node "$dir" {} {} | xargs -r {}'
        remove = 'bash -c \'docker -H "$0" {} "$@" || true\' {}'
        for node in self.names:
            socket = self.socket(node)
            if node == "node1":
                rm = remove.format("service rm", socket)
                self.bash(words.format(node, "service ls -q", rm))
            self.bash(words.format(node, "ps -aq", remove.format("rm -f", socket)))

    def restart(self, node: str) -> None:
        """After kill_node."""
        self.bash(f'revive_node "$dir" {node}')
        self.ready(node)

    def ready(self, node: str) -> None:
        """Waits until the manager knows that a node is there."""
        command = ["node", "inspect", "--format", "{{.Status.State}}", node]
        wait_for(lambda: self.docker(*command) == "ready", 60, f"{node} is ready")

    def pushes(self, node: str) -> list[str]:
        """Manifests that a node has put into the registry, as its log tells."""
        here = self.address.rpartition(".")[0]
        at = re.escape(f"{here}.{node.removeprefix('node')} ")
        log = (self.folder / "registry.log").read_text(errors="replace")
        return re.findall(rf'^{at}.*"PUT /v2/\S+/manifests/\S+', log, re.M)

    def _load(self, images: list[str]) -> None:
        """Gives all nodes these images of the engine that is there."""
        self.image = images[0]
        with tempfile.NamedTemporaryFile() as saved:
            subprocess.run([CLIENT, "save", *images], stdout=saved, check=True)
            loads = [
                subprocess.Popen(
                    [CLIENT, "-H", self.socket(node), "load", "-q", "-i", saved.name],
                    stdout=subprocess.DEVNULL,
                )
                for node in self.names
            ]
            assert not any(load.wait(300) for load in loads)


def _below(process: Path, init: str) -> bool:
    """Was it started by init, directly or not? Containers have a PID namespace each."""
    for _ in range(20):
        status = (process / "stat").read_text()
        parent = status.rpartition(")")[2].split()[1]
        if parent in ("0", "1"):
            return False
        if parent == init:
            return True
        process = process.parent / parent
    return False


@contextmanager
def machines(count: int, images: list[str]) -> Iterator[Machines]:
    one = Machines(count, images)
    try:
        yield one
    finally:
        one.stop()
