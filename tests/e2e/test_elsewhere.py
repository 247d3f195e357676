"""A repository that is not on GitHub: git alone tells of its pushes."""

import socket
import subprocess

import pytest

from tests.support.parts import wait_for
from wrapper.commands import health
from wrapper.config import load as config
from wrapper.pushes import state

MAIN = "refs/heads/main"


@pytest.fixture
def daemon(github):
    """daemon(PATH) -> the URL of a repository on git's own server, without an API."""
    servers = []

    def daemon(path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = ["git", "daemon", "--export-all", "--listen=127.0.0.1"]
        command += [f"--port={port}", f"--base-path={path.parent}"]
        servers.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        url = f"git://127.0.0.1:{port}/{path.name}"
        answers = ["git", "ls-remote", url]
        wait_for(lambda: not subprocess.run(answers, capture_output=True).returncode)
        return url

    yield daemon
    for server in servers:
        server.terminate()  # and with it what it has started
        server.wait()


@pytest.mark.parametrize("server", ["folder", "daemon"])
def test_its_refs_are_compared_each_interval(
    make_repo, configure, here, name, github, monkeypatch, daemon, server
):
    tree = make_repo()
    folder = github.repository(name).path
    url = f"file://{folder}" if server == "folder" else daemon(folder)
    settings = {"url": url, "branches": ["{default}"]}
    path = configure(repositories={name: settings})
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_one")
    poller = here(path)
    poller.says("noted main")
    wait_for(lambda: (poller.folder / name / "state.json").exists())
    tree.commit()
    tree.push()
    wait_for(lambda: poller.builds(name) == [(MAIN, tree.head)])
    wait_for(lambda: poller.states(name) == ["success"])
    wait_for(lambda: health.run(config.load(str(path))) == 0)
    assert not poller.polls(name)
    poller.stop()
    assert not github.statuses  # nor is there a commit to show them at


def test_it_comes_to_github(make_repo, configure, here, name, github):
    tree = make_repo()
    url = f"file://{github.repository(name).path}"
    poller = here(configure(repositories={name: {"url": url}}))
    poller.says("noted main")
    configure(name)
    poller.says(f"{name}: url")
    poller.settled(name)  # compared with its new address, the feed known
    wait_for(lambda: state.load(poller.folder / name).url != url)
    tree.commit()
    tree.push()
    poller.has(name, (MAIN, tree.head))
