"""Builds as jobs of Docker Swarm, on several machines with an engine each."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.github import GitHub
from tests.support.machines import machines as several
from tests.support.parts import (
    GIT,
    ROOT,
    Poller,
    Registry,
    Tree,
    application,
    results,
    wait_for,
)
from wrapper.builds.lock import held

LEASE = 15  # seconds from a lock that is free to the next run
WORKERS = "builds=yes"  # a label of all machines but the manager


@pytest.fixture(scope="module")
def machines(request, server_image, base_image):
    """Three machines; two for the tests that `make test` runs."""
    marked = [item for item in request.session.items if item.module is request.module]
    many = any(item.get_closest_marker("more") for item in marked)
    with several(3 if many else 2, [server_image, base_image]) as found:
        for node in found.names[1:]:
            found.docker("node", "update", "--label-add", "builds=yes", node)
        yield found


@pytest.fixture
def github(machines, tmp_path):
    """The stand-in, where all machines reach it."""
    with GitHub(tmp_path / "github", host=machines.address) as hub:
        yield hub


class Server:
    """A poller that sends builds of an application, whose test waits at a gate."""

    def __init__(self, machines, github, make_repo, configure, run_poller, builds):
        self.machines, self.github = machines, github
        self.make_repo, self.configure, self.run_poller = (
            make_repo,
            configure,
            run_poller,
        )
        self.builds: Path = builds
        self.registry = Registry(machines.registry)
        self.settings: dict[str, Any] = {}
        self.environment = {"DOCKER_HOST": machines.socket()}

    def start(self, base_image: str, *names: str, **engine: Any) -> None:
        """Repositories, with a poller that has seen them."""
        self.trees: dict[str, Tree] = {}
        for name in names:
            self.trees[name] = self.make_repo(application(base_image), name=name)
            wait = f"until wget -qO- {self.github.url}/gate/{name}; do sleep 0.1; done"
            test = {"command": ["sh", "-c", f"echo at the gate; {wait}"]}
            self.settings[name] = {"test": {**test, "network": "host"}}
            self.open(name)
        self.config = self.configure(
            repositories=self.settings,
            registry=self.machines.registry,
            concurrency=3,
            engine=self.machines.engine(**engine),
        )
        self.poll()
        for name in names:
            self.poller.wait_for((self.builds / name / "state.json").exists)

    def poll(self) -> None:
        self.poller: Poller = self.run_poller(self.config, **self.environment)

    def open(self, name: str) -> None:
        self._set_gate(name, 200)

    def close(self, name: str) -> None:
        self._set_gate(name, 503)

    def _set_gate(self, name: str, status: int) -> None:
        path, faults = f"/gate/{name}$", self.github.faults
        faults[:] = [fault for fault in faults if fault.pattern != path]
        self.github.fault(path, times=-1, status=status)

    def push(self, name: str) -> Path:
        """A new commit; its build directory, once it is sent."""
        tree = self.trees[name]
        commit = tree.commit({"app.js": f"// {time.time()}\n"})
        tree.push()
        folder = self.builds / name
        self.poller.wait_for(lambda: list(folder.glob(f"*Z-{commit[:7]}/build.json")))
        [build] = folder.glob(f"*Z-{commit[:7]}")
        return build

    def at_gate(self, build: Path, number: int = 1, seconds: float = 60) -> str:
        """Waits until its test runs, for the number-th time; the node."""
        console = build / "console.log"

        def there() -> bool:
            text = console.read_text() if console.exists() else ""
            return text.count("\nat the gate") >= number

        self.poller.wait_for(there, seconds, "at the gate")
        lines = console.read_text().splitlines()
        return [line for line in lines if line.startswith("agent.sh: on ")][-1][13:]

    def result(self, build: Path, seconds: float = 120) -> dict[str, Any]:
        path = build / "result.json"
        self.poller.wait_for(path.exists, seconds, "a result")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def stage(self, name: str) -> Path:
        """A build by hand, which no poller starts."""
        environment = os.environ | {
            "CONFIG": str(self.config),
            "PYTHON": sys.executable,
        }
        script = [str(ROOT / "scripts/stage.sh"), name]
        environment["GITHUB_SERVER_URL"] = self.github.url
        out = subprocess.check_output(script, env=environment, text=True)
        return Path(out.strip())

    def jobs(self, build: Path) -> list[str]:
        label = f"label=docker-build-server.build={'/'.join(build.parts[-3:])}"
        found: str = self.machines.docker("service", "ls", "-q", "--filter", label)
        return found.split()


@pytest.fixture
def server(machines, github, make_repo, configure, run_poller, builds):
    yield Server(machines, github, make_repo, configure, run_poller, builds)
    machines.clean()


def runs(build: Path) -> list[str]:
    """The nodes that a build ran on, in order."""
    lines = (build / "console.log").read_text().splitlines()
    return [line[13:] for line in lines if line.startswith("agent.sh: on ")]


def test_a_push_is_built_on_another_machine_and_comes_back(
    server, machines, base_image, name
):
    server.start(base_image, name, constraint=WORKERS)
    server.close(name)
    build = server.push(name)
    node = server.at_gate(build)
    assert node != "node1"

    # While it is there, its console and its steps are seen here.
    assert (build / "lock").is_symlink()
    assert held(build / "lock")
    assert "begin\tunit-test" in (build / "steps").read_text()
    sent = machines.shared / name / build.name
    assert sent.is_dir()
    server.open(name)
    result = server.result(build)
    assert result["status"] == "success", server.poller.output
    assert [step["name"] for step in result["steps"]][-1] == "tag-push"
    assert result["pushed"] == (build / "pushed").read_text().splitlines()
    assert "main" in server.registry.tags(name)
    wait_for(lambda: not (build / "lock").is_symlink() and not sent.exists())
    console = (build / "console.log").read_text()
    assert console.endswith("pipeline.sh: success\n")
    for line in console.splitlines():
        assert f"{name}: {line}".rstrip() in server.poller.output, line
    assert machines.pushes(node)
    assert not (build / "src").exists()
    wait_for(lambda: not server.jobs(build))


@pytest.mark.more
def test_1_a_run_that_lost_its_lock_leaves_no_result(
    server, machines, base_image, name
):
    server.start(base_image, name)
    server.close(name)
    build = server.push(name)
    first = server.at_gate(build)
    lock = (build / "lock").resolve()
    lock.write_text("another 1 token\n")  # still held: the run itself has to notice
    assert server.at_gate(build, 2) != first
    server.open(name)
    assert server.result(build)["status"] == "success", server.poller.output
    assert not machines.pushes(first) or name not in "".join(machines.pushes(first))
    assert len(runs(build)) == 2
    assert "taken over" not in (build / "result.json").read_text()


@pytest.mark.more
def test_2_what_a_lost_machine_had_is_built_elsewhere(
    server, machines, base_image, name
):
    server.start(base_image, name, constraint=WORKERS)
    server.close(name)
    build = server.push(name)
    first = server.at_gate(build)
    machines.bash(f'kill_node "$dir" {first}')  # frees its locks: the lease has ended
    began = time.monotonic()
    try:
        assert server.at_gate(build, 2, LEASE) != first
        assert time.monotonic() - began < LEASE
        server.open(name)
        assert server.result(build)["status"] == "success"
        assert len(runs(build)) == 2
        assert f"launch.sh: {first}: lost" in (build / "console.log").read_text()
    finally:
        machines.restart(first)


@pytest.mark.more
def test_3_a_machine_cut_off_that_comes_back_pushes_nothing(
    server, machines, base_image, name
):
    server.start(base_image, name, constraint=WORKERS)
    server.close(name)
    build = server.push(name)
    first = server.at_gate(build)
    # It stands still, without a network; the file server gives its lock away.
    machines.bash(f'cut_node "$dir" {first}')
    machines.freeze(first, signal.SIGSTOP)
    try:
        lock = (build / "lock").resolve()
        fresh = lock.with_name("fresh")
        fresh.write_text(lock.read_text())
        fresh.rename(lock)
        assert server.at_gate(build, 2) != first
    finally:
        server.open(name)
        machines.freeze(first, signal.SIGCONT)
        machines.bash(f'join_node "$dir" {first}')
    assert server.result(build)["status"] == "success", server.poller.output
    machines.ready(first)
    image = f"/{name}/"
    # Until its agent has ended: then it can push no more.
    wait_for(lambda: not machines.docker("ps", "-q", node=first), 60)
    assert not [line for line in machines.pushes(first) if image in line]


@pytest.mark.more
def test_4_without_the_manager_builds_end_and_pushes_are_seen(
    server, machines, base_image, name
):
    server.start(base_image, name, f"{name}-2", constraint=WORKERS)
    server.close(name)
    build = server.push(name)
    assert server.at_gate(build) != "node1"
    machines.freeze("node1", signal.SIGSTOP)
    try:
        server.open(name)
        assert server.result(build)["status"] == "success", server.poller.output
        later = server.push(f"{name}-2")  # returns when it is staged
        assert not (later / "result.json").exists()
    finally:
        machines.freeze("node1", signal.SIGCONT)
    assert server.result(later)["status"] == "success", server.poller.output


@pytest.mark.more
def test_5_a_machine_that_loses_the_folder_ends_its_build_itself(
    server, machines, base_image, name
):
    server.start(base_image, name)
    server.close(name)
    build = server.push(name)
    first = server.at_gate(build)
    [agent] = machines.agents(first)
    enter = ["nsenter", f"--target={agent}", "--mount"]
    busybox = shutil.copy(shutil.which("busybox") or "busybox", machines.shared)
    command = [busybox, "mount", "-t", "tmpfs", "tmpfs", str(machines.shared)]
    subprocess.run([*enter, *command], check=True)
    wait_for(lambda: not machines.docker("ps", "-q", node=first), 30, "its end")
    assert server.at_gate(build, 2) != first
    server.open(name)
    assert server.result(build)["status"] == "success"


@pytest.mark.more
def test_6_a_second_job_for_a_build_does_nothing(server, machines, base_image, name):
    server.start(base_image, name)
    server.close(name)
    build = server.push(name)
    server.at_gate(build)
    [job] = server.jobs(build)
    described = json.loads(machines.docker("service", "inspect", job))[0]["Spec"]
    container = described["TaskTemplate"]["ContainerSpec"]
    mounts = [
        f"type=bind,source={m['Source']},target={m['Target']}"
        for m in container["Mounts"]
    ]
    again = ["service", "create", "--quiet", "--detach", "--name", "again"]
    again += ["--mode", "replicated-job", "--restart-condition", "none"]
    again += ["--network", "host", "--no-resolve-image"]
    again += [f"--mount={mount}" for mount in mounts]
    again += [f"--env={variable}" for variable in container["Env"]]
    machines.docker(*again, machines.image, *container["Args"])
    shown = ["service", "ps", "again", "--no-trunc", "--format"]

    def ended() -> str:
        said = machines.docker(*shown, "{{.CurrentState}} {{.Error}}")
        return said if said.startswith(("Failed", "Complete")) else ""

    said = wait_for(ended, 30)
    assert said.startswith("Complete") or "(69)" in said
    machines.docker("service", "rm", "again")
    server.open(name)
    assert server.result(build)["status"] == "success"
    assert len(runs(build)) == 1


@pytest.mark.more
def test_7_a_poller_that_was_killed_adopts_its_builds(
    server, machines, base_image, name
):
    server.start(base_image, name)
    server.close(name)
    build = server.push(name)
    server.at_gate(build)
    [job] = server.jobs(build)
    server.poller.kill()
    server.poll()
    server.poller.said("again, as it was interrupted")
    wait_for(lambda: (build / ".launch").exists())
    assert server.jobs(build) == [job]
    server.open(name)
    assert server.result(build)["status"] == "success", server.poller.output
    assert len(runs(build)) == 1
    wait_for(lambda: not server.jobs(build))


@pytest.mark.more
def test_8_a_broken_machine_costs_one_attempt_and_is_named(
    server, machines, base_image, name
):
    server.start(base_image, name, constraint=WORKERS)
    build = server.push(name)
    assert server.result(build)["status"] == "success"
    [broken] = runs(build)
    machines.inside(broken, "mv", "/run/docker.sock", "/run/docker.gone")
    failures = server.builds / ".nodes" / broken
    try:
        for number in 1, 2, 3:
            # It is where the last success was, so it would be sent the next one, too.
            (server.builds / name / ".node").write_text(broken)
            build = server.push(name)
            assert server.result(build)["status"] == "success", server.poller.output
            console = (build / "console.log").read_text()
            assert console.count(f"launch.sh: {broken}: ") == 1, console
            assert "/var/run/docker.sock" in console
            assert len(failures.read_text().splitlines()) == number
            assert broken not in runs(build)
        (server.builds / name / ".node").write_text(broken)
        build = server.push(name)
        assert server.result(build)["status"] == "success", server.poller.output
        assert f"{broken} is paused" in (build / "console.log").read_text()
        assert len(failures.read_text().splitlines()) == 3
    finally:
        machines.inside(broken, "mv", "/run/docker.gone", "/run/docker.sock")


@pytest.mark.more
def test_9_cancel_ends_a_build_within_15_seconds(server, machines, base_image, name):
    server.start(base_image, name)
    server.close(name)
    build = server.push(name)
    node = server.at_gate(build)
    began = time.monotonic()
    command = [
        sys.executable,
        "-m",
        "wrapper",
        "--config",
        str(server.config),
        "cancel",
    ]
    environment = os.environ | GIT | server.environment
    done = subprocess.run(
        [*command, str(build)], cwd=ROOT, env=environment, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert server.result(build)["status"] == "cancelled"
    wait_for(lambda: not machines.docker("ps", "-q", node=node), 15)
    assert time.monotonic() - began < 15
    assert not [line for line in machines.pushes(node) if f"/{name}/" in line]


@pytest.mark.more
def test_10_after_a_prune_nothing_of_ours_is_left(server, machines, base_image, name):
    server.start(base_image, name)
    build = server.push(name)
    assert server.result(build)["status"] == "success"
    [node] = runs(build)
    image = (build / "image").read_text().strip()
    work = machines.folder / node / "work" / name
    assert (work / build.name / "src").is_dir()
    assert machines.docker("images", "-q", "--no-trunc", node=node).count(image)
    server.poller.stop()
    left = machines.shared / name / "20260101T000000.000000Z-1234567"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    subprocess.run(["rm", "-r", build], check=True)
    stale = machines.shared / ".pruned"
    stale.unlink(missing_ok=True)
    other = server.stage(name)  # what says which engine there is
    environment = os.environ | server.environment
    prune = [ROOT / "scripts/prune.sh", server.builds]
    subprocess.run(prune, env=environment, check=True)
    wait_for(lambda: not (work / build.name).exists(), 60, "the work folder is gone")
    wait_for(
        lambda: image not in machines.docker("images", "-q", "--no-trunc", node=node)
    )
    assert not left.exists()
    assert not server.jobs(build)
    for each in machines.names:  # the prune itself remains, until the next
        [container] = machines.containers(each)
        assert "prune.sh" in container
    assert not machines.docker("service", "ls", "-q")
    assert other.exists()


@pytest.mark.more
def test_11_three_builds_run_on_three_machines_seen_at_once(
    server, machines, base_image, name
):
    names = [name, f"{name}-2", f"{name}-3"]
    server.start(base_image, *names, cpus=0.9)
    for each in names:
        server.close(each)
    builds = [server.push(each) for each in names]
    nodes = {server.at_gate(build) for build in builds}
    assert nodes == set(machines.names)
    for each, build in zip(names, builds, strict=True):
        server.open(each)
        assert server.result(build)["status"] == "success", server.poller.output
    assert results(server.builds, name)
