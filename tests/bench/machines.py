"""What another machine costs: a build here, and as a job of Swarm on another engine.

Both engines run on this machine, in namespaces of their own. Prints seconds of a warm
one-line change, to its first line and to its end, each way in each round; then of the
first build on a machine that never built, with and without `cache: registry`.

    with-services python -m tests.bench.machines [ROUNDS]
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.bench import builds as bench
from tests.bench.builds import DOCKERFILES, Checkout, Project, run, spread
from tests.bench.shapes import Scripted
from tests.support.machines import Machines
from tests.support.parts import ROOT

BASE = os.environ["BASE_IMAGE"]
SLEEP = "tini\0--\0sleep\0infinity\0"


class Took(NamedTuple):
    first: float  # seconds from the start to the first line of the first step
    all: float  # and to the end


@contextmanager
def two_machines() -> Iterator[Machines]:
    """With the image of this checkout."""
    services = ROOT / "tests/support/services.bash"
    debian = run("bash", "-euc", '. "$0" && debian_image', services).strip()
    image = f"docker-build-server/bench:{os.getpid()}"
    run("make", "-C", ROOT, "image", BASE=debian, TAG=image)
    machines = Machines(2, [image, BASE])
    try:
        # As a registry has it, by digest: then no machine asks for it at each build.
        name = f"{machines.registry}/docker-build-server"
        machines.docker("tag", image, f"{name}:1")
        machines.docker("push", f"{name}:1")
        shown = ["inspect", "--format", "{{index .RepoDigests 0}}", f"{name}:1"]
        machines.image = machines.docker(*shown)
        machines.docker("pull", machines.image, node="node2")
        machines.docker("node", "update", "--label-add", "builds=yes", "node2")
        yield machines
    finally:
        machines.stop()
        run(bench.DOCKER, "rmi", image)


class Poller:
    """A container of the image on node1, as compose runs it, to start scripts in."""

    def __init__(self, machines: Machines) -> None:
        """Both ways then have the same client, which matters: buildx takes 0.3 s."""
        folders = "/var/run/docker.sock", machines.shared, machines.work
        mounts = [f"--volume={folder}:{folder}" for folder in folders]
        options = ["--detach", "--network=host", "--name=poller", *mounts]
        machines.docker("run", *options, machines.image, "sleep", "infinity")
        [pid] = [p for p in machines.processes("node1") if _command(p) == SLEEP]
        self.command = ["nsenter", f"--target={pid}", "--mount", "--net", "--pid"]
        words = Path(f"/proc/{pid}/environ").read_text().rstrip("\0").split("\0")
        self.environment = dict(word.split("=", 1) for word in words)


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def build(poller: Poller, project: Project, script: str) -> Took:
    """A commit of its own, by pipeline.sh here or launch.sh there."""
    checkout = Checkout(script.removesuffix(".sh"), ROOT)
    commit = project.change()
    bench.settings(checkout, project)
    path = checkout.stage(project, commit)
    began = time.monotonic()
    first = 0.0
    process = subprocess.Popen(
        [*poller.command, f"/scripts/{script}", str(path)],
        env=poller.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout
    said = []
    for line in process.stdout:
        said.append(line)
        if not first and line.startswith(b"clone.sh: "):
            first = time.monotonic() - began
    took = time.monotonic() - began
    assert not process.wait(), b"".join(said).decode()
    return Took(first, took)


def forget(machines: Machines, node: str) -> None:
    """The machine has never built: no work, no cache, no image but the base."""
    docker = partial(machines.docker, node=node)
    docker("builder", "prune", "--all", "--force")
    names = docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    if ours := [name for name in names if "/bench/" in name and "<none>" not in name]:
        docker("rmi", "--force", *ours)
    docker("image", "prune", "--force")
    work = machines.folder / node / "work"
    for path in work.iterdir():
        shutil.rmtree(path)
    # ext4 without a journal passes over inodes that were freed in the last minute: a
    # layer of many files then takes 15 s to unpack instead of 4.
    os.sync()
    time.sleep(65)


def project(
    machines: Machines,
    name: str,
    kind: str,
    size: type[Project] = Project,
    **settings: object,
) -> Project:
    """One whose remote all machines see."""
    one = size(machines.shared / "projects", name, DOCKERFILES[kind], **settings)
    one.top = {"engine": machines.engine(constraint="builds=yes")}
    return one


def warm(poller: Poller, machines: Machines, rounds: int) -> None:
    for kind in "copies everything", "layered":
        one = project(machines, kind.replace(" ", "-"), kind)
        ways = {
            "here": partial(build, poller, one, "pipeline.sh"),
            "there": partial(build, poller, one, "launch.sh"),
        }
        bench.measure(1, ways)
        given = bench.measure(rounds, ways)
        pairs = list(zip(given["here"], given["there"], strict=True))
        print(f"one line changed, {kind} |", end=" ")
        for way, times in given.items():
            middle = statistics.median(took.all for took in times)
            print(f"{way} {middle:.2f} s", end=" | ")
        ratio = [there.all / here.all for here, there in pairs]
        later = [there.first - here.first for here, there in pairs]
        print(
            f"ratio {spread(ratio)} | first line later by {spread(later)} s", flush=True
        )


def cold(
    poller: Poller, machines: Machines, rounds: int, size: type[Project], what: str
) -> None:
    kind = "installs by itself"
    calls = {}
    for cache in "none", "registry":
        name = f"cold-{size.__name__.lower()}-{cache}"
        one = project(machines, name, kind, size, cache=cache)
        build(poller, one, "launch.sh")  # so the registry has an image

        def first(one: Project = one) -> Took:
            forget(machines, "node2")
            return build(poller, one, "launch.sh")

        calls[cache] = first
    given = bench.measure(rounds, calls)
    pairs = zip(given["none"], given["registry"], strict=True)
    print(f"first build of a machine, {what}, {kind} |", end=" ")
    for cache, times in given.items():
        middle = statistics.median(took.all for took in times)
        print(f"cache {cache} {middle:.2f} s", end=" | ")
    print(f"ratio {spread([cached.all / none.all for none, cached in pairs])}")


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    with two_machines() as machines, tempfile.TemporaryDirectory() as folder:
        Project.registry = machines.registry
        os.environ["NPM_CONFIG_CACHE"] = str(Path(folder) / "npm")
        (machines.shared / "projects").mkdir()
        poller = Poller(machines)
        warm(poller, machines, rounds)
        cold(poller, machines, max(rounds // 3, 1), Project, "small")
        cold(poller, machines, max(rounds // 3, 1), Scripted, "870 packages")


if __name__ == "__main__":
    main()
