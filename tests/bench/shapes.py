"""What larger and other repositories cost, beside what their people type.

Prints medians of rounds, as tests.bench.builds does. A shape is a repository of its
own: of many files, much history, many packages; with a stage for tests; after the
engine's cache was pruned; with a layer that is large for its registry's line.

    with-services python -m tests.bench.shapes [ROUNDS [SHAPE...]]
"""

import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.bench.builds import (
    BASE,
    DOCKER,
    DOCKERFILES,
    PACKAGE,
    REGISTRY,
    ROOT,
    Checkout,
    Project,
    Times,
    Way,
    changed,
    measure,
    plain,
    row,
    run,
)

MANY = {
    "jest": "29.7.0",
    "webpack": "5.97.1",
    "webpack-cli": "5.1.4",
    "eslint": "8.57.1",
    "mocha": "10.8.2",
    "supertest": "7.0.0",
    "@babel/preset-env": "7.26.0",
    "cssnano": "7.0.6",
    "typescript": "5.7.2",
    "postcss-preset-env": "10.1.3",
}
SCRIPTED = MANY | {"gulp": "4.0.2"}  # es5-ext, with an install script, is among its own
STAGES = (
    f"FROM {BASE} AS build\nWORKDIR /app\nCOPY package*.json ./\nRUN npm ci\nCOPY . .\n"
    f"FROM {BASE}\nWORKDIR /app\nCOPY package*.json ./\nRUN npm ci --omit=dev\n"
    "COPY --from=build /app/app.js ./\n"
)
LAYER = (
    DOCKERFILES["installs by itself"] + "RUN head -c 100000000 /dev/urandom >/data\n"
)
LINE = 20_000_000  # bytes a second that a slow registry takes


class Packages(Project):
    """Many packages, none of which runs a script when it is installed."""

    package = PACKAGE | {"devDependencies": MANY}


class Scripted(Project):
    """Many packages, with install scripts among them."""

    package = PACKAGE | {"devDependencies": SCRIPTED}


class Large(Scripted):
    """3,000 files, 200 MB of history."""

    def grow(self) -> None:
        (self.tree / "src").mkdir()
        for number in range(3000):
            text = f"module.exports = {number}\n" * 20
            (self.tree / f"src/{number}.js").write_text(text)
        for number in range(200):
            (self.tree / "data.bin").write_bytes(os.urandom(1_000_000))
            self.count = -number
            self._push()
        self.count = 0


class Staged(Project):
    """Its final image has no runner: a stage is tested."""

    stage = "build"


class Layered(Project):
    """Tests of five seconds, no packages, and a layer of 100 MB in each image."""

    package = PACKAGE | {"scripts": {"test": "sleep 5"}, "devDependencies": {}}


def slow_line(port: int) -> str:
    """The address of a proxy to the registry on that port that takes LINE at most."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket, limit: float) -> None:
        began, sent = time.monotonic(), 0
        while data := source.recv(1 << 16):
            target.sendall(data)
            sent += len(data)
            if limit and (early := sent / limit - time.monotonic() + began) > 0:
                time.sleep(early)
        target.shutdown(socket.SHUT_WR)

    def serve() -> None:
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", port))
            for way in (client, server, LINE), (server, client, 0):
                threading.Thread(target=pump, args=way, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return f"127.0.0.1:{listener.getsockname()[1]}"


def one_line(project: Project, rounds: int, ways: dict[str, Way], name: str) -> None:
    calls = {who: partial(changed, way, project) for who, way in ways.items()}
    measure(1, calls)
    row(f"one line changed, {name}", measure(rounds, calls))


def pruned(work: Path, rounds: int, ways: dict[str, Way]) -> None:
    """The engine has forgotten all it knew of the build, but for the base image."""

    def cold(way: Way, project: Project) -> Times:
        commit = project.change()
        run(DOCKER, "builder", "prune", "-af")
        ids = run(DOCKER, "images", "-q", f"*/{project.image}*").split()
        if ids:
            run(DOCKER, "rmi", "-f", *set(ids))
        return way(project, commit)

    for cache in "none", "registry":
        dockerfile = DOCKERFILES["installs by itself"]
        project = Project(work, f"pruned-{cache}", dockerfile, cache=cache)
        calls = {name: partial(cold, way, project) for name, way in ways.items()}
        measure(1, calls)
        row(f"engine's cache pruned, cache {cache}", measure(rounds, calls))


def four_at_once(work: Path, rounds: int, ways: dict[str, Way]) -> None:
    """One line changed in each; plain: as four people would, at once too."""
    for kind in "installs by itself", "copies everything":
        names = [f"four-{kind[:3]}{number}" for number in range(4)]
        projects = [Project(work, name, DOCKERFILES[kind]) for name in names]

        def all_of(way: Way, projects: list[Project]) -> Times:
            commits = [project.change() for project in projects]
            began = time.monotonic()
            with ThreadPoolExecutor() as pool:
                list(pool.map(way, projects, commits))
            return {"all": time.monotonic() - began}

        calls = {who: partial(all_of, way, projects) for who, way in ways.items()}
        measure(1, calls)
        row(f"four repositories at once, {kind}", measure(rounds, calls))


def shapes(
    work: Path, rounds: int, ways: dict[str, Way]
) -> dict[str, Callable[[], None]]:
    """What to call for each, by its name."""
    itself, copies = DOCKERFILES["installs by itself"], DOCKERFILES["copies everything"]

    def large() -> None:
        one_line(
            Large(work, "large", itself), rounds, ways, "large, installs by itself"
        )

    def packages() -> None:
        for name, kind in ("without", Packages), ("with", Scripted):
            project = kind(work, f"packages-{name}", copies)
            lock = json.loads((project.tree / "package-lock.json").read_text())
            what = f"{len(lock['packages'])} packages {name} scripts, copies everything"
            one_line(project, rounds, ways, what)

    def staged() -> None:
        project = Staged(work, "staged", STAGES, test={"target": "build"})
        one_line(project, rounds, ways, "a stage is tested")

    def layer() -> None:
        Layered.registry = slow_line(int(REGISTRY.rpartition(":")[2]))
        project = Layered(work, "layer", LAYER, test={"network": "none"})
        one_line(project, rounds, ways, "a layer of 100 MB, 20 MB/s, tests of 5 s")

    return {
        "large": large,
        "packages": packages,
        "staged": staged,
        "layer": layer,
        "pruned": partial(pruned, work, rounds, ways),
        "four": partial(four_at_once, work, rounds, ways),
    }


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    ways: dict[str, Way] = {"plain": plain, "this": Checkout("this", ROOT).pipeline}
    print("seconds, plain / this, by step; then this of plain")
    with tempfile.TemporaryDirectory(prefix="bench.") as folder:
        known = shapes(Path(folder), rounds, ways)
        for name in sys.argv[2:] or known:
            known[name]()


if __name__ == "__main__":
    main()
