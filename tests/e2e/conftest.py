"""A poller in the test's own process, with builds that end at once."""

import subprocess
import threading
from typing import ClassVar

import pytest

from tests.support.parts import wait_for
from wrapper import SCRIPTS
from wrapper.builds.directory import builds_in
from wrapper.builds.process import Pipeline
from wrapper.poller import Poller


class Stub(Pipeline):
    """In pipeline.sh's place: a build succeeds, as soon as the gate is open."""

    gate = threading.Event()
    running: ClassVar[set[str]] = set()  # IDs, now
    most: ClassVar[list[int]] = []  # how many ran at once, at each start
    code = 0  # other than 0: no result is left
    marks = False  # [skip ci] is honoured
    froms: ClassVar[list[str | None]] = []  # the step that each was to go on from

    def __init__(self, build):
        super().__init__(build)
        self.build = build
        self.stopped = threading.Event()

    def run(self):
        self.running.add(self.build.id)
        self.most.append(len(self.running))
        self.froms.append(self.build.rerun)
        while not self.gate.wait(0.01) and not self.stopped.is_set():
            pass
        if not self.code and not self.stopped.is_set():
            self.build.close("skipped" if self.marked() else "success", "")
        self.running.remove(self.build.id)
        return self.code or 143 * self.stopped.is_set()

    def marked(self):
        script = [f"{SCRIPTS}/lib/skips-ci.sh", self.build.path]
        return self.marks and not subprocess.run(script).returncode

    def signal(self, number):
        self.stopped.set()


class Here:
    """Runs a poller in a thread; what it says is on a terminal of the test's own."""

    pipeline: type[Pipeline] = Stub

    def __init__(self, config, folder, github, terminal):
        self.config, self.folder = config, folder
        self.github, self.terminal = github, terminal
        self.code: int | None = None
        terminal.open()
        self.start()

    def start(self, once=False):
        self._poller = Poller(str(self.config), self.pipeline)

        def run():
            self.code = self._poller.main(once)

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def stop(self, number=15):
        self._poller.stop(number)
        self.join()

    def join(self):
        self._thread.join(30)
        assert not self._thread.is_alive()

    @property
    def output(self):
        """Everything any poller of this test has said."""
        return self.terminal.text

    def says(self, words):
        wait_for(lambda: words in self.output, what=f"said {words!r}")

    def builds(self, name):
        """What was staged, in order: ref and commit."""
        return [(b.ref, b.commit) for b in builds_in(self.folder / name)]

    def counts(self, name, number):
        return len(self.builds(name)) == number

    def states(self, name):
        return [b.state() for b in builds_in(self.folder / name)]

    def polls(self, name):
        start = f"/repos/{name}/events"
        return [r for r in self.github.requests if r.path.startswith(start)]

    def settled(self, name):
        """Waits until further polls have brought nothing more."""
        count = len(self.polls(name))
        wait_for(lambda: len(self.polls(name)) > count + 3, what="polls go on")

    def has(self, name, *expected):
        """Exactly these were staged in the end: (branch or tag in full, commit)."""
        wait_for(
            lambda: len(self.builds(name)) >= len(expected),
            10,
            f"{len(expected)} builds",
        )
        self.settled(name)
        assert self.builds(name) == list(expected), self.output


@pytest.fixture(autouse=True)
def reset_stub():
    Stub.gate.set()
    Stub.running.clear()
    Stub.most.clear()
    Stub.froms.clear()
    Stub.code = 0
    Stub.marks = False


@pytest.fixture
def here(github, builds, monkeypatch, terminal):
    """here(CONFIG) -> Here, on the stand-in; ended with the test."""
    monkeypatch.setenv("GITHUB_API_URL", github.url)
    monkeypatch.setenv("GITHUB_SERVER_URL", github.url)
    for secret in ("GITHUB_TOKEN", "GITHUB_TOKEN_FILE", "CONFIG", "BUILDS"):
        monkeypatch.delenv(secret, raising=False)
    running: list[Here] = []

    def here(config):
        running.append(Here(config, builds, github, terminal))
        return running[-1]

    yield here
    for one in running:
        one.stop()


@pytest.fixture
def watched(make_repo, configure, here, name):
    """watched(**settings) -> the repository's tree and the poller that has seen it."""

    def watched(poll=None, **settings):
        tree = make_repo()
        more = {"poll": poll} if poll else {}
        poller = here(configure(repositories={name: settings}, **more))
        poller.says(f"noted main at {tree.head[:7]}")
        poller.settled(name)
        return tree, poller

    return watched
