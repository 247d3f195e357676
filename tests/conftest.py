"""Fixtures: real git, a stand-in for GitHub, a registry, an engine, a poller.

Everything is the test's own: its folder, its names. Nothing waits for a fixed time.
"""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.github import GitHub
from tests.support.parts import GIT, ROOT, Poller, Registry, Tree
from tests.support.receiver import Receiver

_numbers = itertools.count(1)


@pytest.fixture
def github(tmp_path):
    """The stand-in, empty; github.url is both GITHUB_API_URL and GITHUB_SERVER_URL."""
    with GitHub(tmp_path / "github") as hub:
        yield hub


class Terminal:
    """Descriptor 1, for threads that write while the test reads.

    capfd empties its file between two readings, and what comes meanwhile is lost.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = -1
        path.touch()

    def open(self) -> None:
        """From the test itself: pytest redirects anew before each phase of it."""
        if self._kept >= 0:
            return
        self._kept = os.dup(1)
        with self._path.open("ab") as file:
            os.dup2(file.fileno(), 1)

    def close(self) -> None:
        if self._kept >= 0:
            os.dup2(self._kept, 1)
            os.close(self._kept)
            self._kept = -1

    @property
    def text(self) -> str:
        """Everything that was written since it was opened."""
        return self._path.read_bytes().decode(errors="replace")


@pytest.fixture
def terminal(tmp_path):
    """A Terminal, for the test to open; what it shows is printed at the end."""
    shown = Terminal(tmp_path / "terminal")
    yield shown
    shown.close()
    print(shown.text)


@pytest.fixture
def name(request):
    """An OWNER/NAME no other test has, in this run or in another at the same time."""
    return (
        f"test/{request.node.originalname[:60].lower()}-{os.getpid()}-{next(_numbers)}"
    )


@pytest.fixture
def make_repo(github, tmp_path, name):
    """make_repo(files, name=…, private=…) -> Tree: on the stand-in, pushed to main."""

    def make_repo(
        files: dict[str, str] | None = None, name: str = name, private: bool = False
    ) -> Tree:
        url = github.create(name, private=private)
        tree = Tree(tmp_path / "trees" / name, name, url)
        tree.commit(files or {"README.md": "An application.\n"}, "feat: begin")
        tree.push()
        return tree

    return make_repo


@pytest.fixture
def receiver():
    """Takes messages, when the test wants it to."""
    one = Receiver()
    yield one
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture(scope="session")
def registry():
    """Skipping would look like success: without a registry the test fails."""
    if not os.environ.get("REGISTRY"):
        pytest.fail("no registry (run: tests/support/with-services pytest …)")
    return Registry(os.environ["REGISTRY"])


@pytest.fixture(scope="session")
def base_image():
    """The local image with node, npm and a shell."""
    if not os.environ.get("BASE_IMAGE"):
        pytest.fail("no engine (run: tests/support/with-services pytest …)")
    return os.environ["BASE_IMAGE"]


@pytest.fixture(scope="session")
def docker(base_image):
    """docker(ARGS…) -> what the client prints, stripped."""

    def docker(*args: str) -> str:
        command = [os.environ.get("DOCKER", "docker"), *args]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    return docker


@pytest.fixture(scope="session")
def debian_image(base_image):
    """A local image for the BASE of the server's own: Debian, with node and npm."""
    words = '. "$0" && debian_image'
    command = ["bash", "-euc", words, str(ROOT / "tests/support/services.bash")]
    return subprocess.check_output(command, text=True).strip()


@pytest.fixture(scope="session")
def server_image(docker, debian_image):
    """The server's own image, as this checkout makes it."""
    name = f"docker-build-server/test:{os.getpid()}"
    command = [os.environ.get("DOCKER", "docker"), "build", "--quiet", "--tag", name]
    file = ["--file", "scripts/image/Dockerfile", "--build-arg", f"BASE={debian_image}"]
    environment = os.environ | {"DOCKER_BUILDKIT": "1"}
    subprocess.run(
        [*command, *file, "."],
        cwd=ROOT,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    yield name
    docker("rmi", name)


@pytest.fixture
def builds(tmp_path):
    """The builds folder that `configure` names; not made yet."""
    return tmp_path / "builds"


@pytest.fixture
def configure(tmp_path):
    """configure(REPOSITORIES, **other) -> Path: writes config.json, quick to poll.

    REPOSITORIES: {"o/n": {settings}}, or just names. May be called again.
    """

    def configure(
        *names: str, repositories: dict[str, Any] | None = None, **other: Any
    ) -> Path:
        config: dict[str, Any] = {
            "registry": os.environ.get("REGISTRY", "127.0.0.1:1"),
            "builds": "builds",
            "disk_free_min": 0,
            "poll": {"interval": 0.1, "sweep": 3600},
            "repositories": {name: {} for name in names} | (repositories or {}),
        }
        path: Path = tmp_path / "config.json"
        half = path.with_suffix(".half")
        half.write_text(json.dumps(config | other))
        return half.rename(path)

    return configure


@pytest.fixture
def run_poller(github, tmp_path):
    """run_poller(CONFIG, *ARGS, **ENV) -> Poller on the stand-in; ended with the test.

    An ENV variable of None is taken away. The log of a test's pollers is one.
    """
    pollers: list[Poller] = []

    def run_poller(config: Path, *args: str, **env: str | None) -> Poller:
        given: dict[str, str | None] = {**os.environ, **GIT, "PYTHON": sys.executable}
        given |= {"GITHUB_API_URL": github.url, "GITHUB_SERVER_URL": github.url}
        for secret in ("GITHUB_TOKEN", "GITHUB_TOKEN_FILE", "CONFIG", "BUILDS"):
            given.pop(secret, None)
        given |= env
        clean = {key: value for key, value in given.items() if value is not None}
        pollers.append(Poller(config, tmp_path / "poller.log", clean, *args))
        return pollers[-1]

    yield run_poller
    for poller in pollers:
        if poller.process.poll() is None:
            poller.kill()
