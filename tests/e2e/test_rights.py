"""A poller of one user, commands of another in its group, and of root."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.parts import GIT, ROOT, Tree, wait_for
from wrapper.builds.directory import builds_in

SERVER, COLLEAGUE, STRANGER = 41001, 41002, 41003  # user IDs; each is its own group
NAME = "o/n"
# The interpreter may be one of root's own, below /root: then the system's will do.
REACHED = not os.path.realpath(sys.executable).startswith("/root/")
PYTHON = sys.executable if REACHED else "/usr/bin/python3"
WE = {
    **os.environ,
    **GIT,
    "PYTHON": PYTHON,
    "DOCKER": "true",  # nobody here is in the group docker; no build gets that far
    "PYTHONPATH": ":".join(filter(None, sys.path)),
}


def as_user(user, *command):
    """In the server's group, but for a stranger. root stays root."""
    if not user:
        return list(command)
    group = user if user == STRANGER else SERVER
    ids = [f"--reuid={user}", f"--regid={user}", f"--groups={group}"]
    return ["setpriv", *ids, "--", *command]


@pytest.fixture
def place():
    """A folder that all may reach, with a repository and a configuration."""
    code = "import requests, wrapper.__main__"
    tried = subprocess.run(
        as_user(STRANGER, "timeout", "20", PYTHON, "-c", code), env=WE
    )
    if os.geteuid() or tried.returncode:
        pytest.skip("only root can be others, and they have to reach Python and us")
    with tempfile.TemporaryDirectory(prefix="rights.") as folder:
        place = Path(folder)
        place.chmod(0o755)
        tree = Tree(place / "tree", NAME, "none")
        tree.commit({"README.md": "no Dockerfile\n"}, "feat: begin")
        # git serves no tree of another user's but to those who say that they trust it.
        (place / "gitconfig").write_text("[safe]\ndirectory = *\n")
        # The scripts set a PYTHONPATH of their own.
        python = f'#!/bin/sh\nPYTHONPATH={WE["PYTHONPATH"]} exec {PYTHON} "$@"\n'
        (place / "python").write_text(python)
        (place / "python").chmod(0o755)
        for path in [place, *place.rglob("*")]:
            os.chown(path, SERVER, SERVER, follow_symlinks=False)
        settings = {"url": f"file://{place}/tree", "status": False}
        config: dict[str, object] = {"registry": "127.0.0.1:1", "poll": {"interval": 1}}
        config |= {"disk_free_min": 0, "repositories": {NAME: settings}}
        (place / "config.json").write_text(json.dumps(config))
        yield place


def server(place, user, *words):
    done = subprocess.run(
        as_user(user, PYTHON, "-m", "wrapper", *words),
        cwd=ROOT,
        env=WE
        | {
            "CONFIG": str(place / "config.json"),
            "HOME": "/",
            "PYTHON": str(place / "python"),
            "GIT_CONFIG_GLOBAL": str(place / "gitconfig"),
        },
        capture_output=True,
        text=True,
        umask=0o077,  # whoever asks may be careful with files
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def poller(place):
    command = as_user(SERVER, PYTHON, "-m", "wrapper", "poll", "--config")
    with (place / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, str(place / "config.json")],
            cwd=ROOT,
            env=WE | {"HOME": str(place)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    state = place / "builds" / NAME / "state.json"
    wait_for(lambda: state.exists() or process.poll() is not None)
    yield place / "log"
    process.terminate()
    process.wait(10)
    print((place / "log").read_text())


def test_whoever_asks_nothing_changes_its_owner(place, poller):
    builds = place / "builds"
    folder = builds / NAME
    for count, user in enumerate((COLLEAGUE, 0, SERVER), 1):
        code, out, err = server(place, user, "trigger", NAME, "main")
        assert code == 0, err
        build = builds_in(folder)[-1]
        assert out == f"{build.path}\n"
        wait_for(build.result)
        assert len(builds_in(folder)) == count
        assert server(place, user, "rerun", build.id)[0] == 0
        wait_for(build.result)
        assert server(place, user, "pause", NAME)[0] == 0
        assert server(place, user, "resume", NAME)[0] == 0
        assert server(place, user, "cancel", build.id)[0] == 1  # it has ended
        for words in ["status"], ["why", "main"], ["health"], ["plan", NAME]:
            code, out, err = server(place, user, *words)
            assert (code, err) == (0, "") and NAME in out
    assert server(place, STRANGER, "status")[0] == 1
    code, _, err = server(place, STRANGER, "trigger", NAME)
    assert code == 1 and "permission denied (the builds are for their user" in err
    owners = {path.lstat().st_uid for path in builds.rglob("*")}
    assert owners == {SERVER}
    assert builds.stat().st_mode & 0o7777 == 0o750
    assert (builds / ".requests").stat().st_mode & 0o7777 == 0o1770
    closed = [p for p in builds.glob("*/*/*/*.json") if p.stat().st_mode & 0o777]
    assert {p.stat().st_mode & 0o777 for p in closed} == {0o640}
    lines = (builds / "journal.jsonl").read_text().splitlines()
    # Two runs of a build may begin, and end, in the same second.
    lines = [line for line in lines if not re.search('"(started|finished)"', line)]
    assert len(lines) == len(set(lines)), lines
    assert f"asked for by trigger, {COLLEAGUE}@" in poller.read_text()
