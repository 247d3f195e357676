"""The token reaches git's network calls and the API, and nothing else."""

import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import threading
from base64 import b64encode
from pathlib import Path

import pytest

from tests.support.github import GitHub
from tests.support.parts import GIT, ROOT, application, results, wait_for

# Prints all that a stranger's script can see of its surroundings.
SPY = """
const fs = require('fs')
const show = (name, text) => console.log('spy', name, text.replace(/\\0/g, ' '))
show(process.argv[2], JSON.stringify(process.env))
for (const pid of fs.readdirSync('/proc').filter(n => /^[0-9]+$/.test(n)))
  for (const file of ['environ', 'cmdline'])
    try { show(pid, fs.readFileSync(`/proc/${pid}/${file}`, 'latin1')) } catch {}
"""


@pytest.fixture
def token():
    return "ghp_" + secrets.token_hex(18)


@pytest.fixture
def token_file(tmp_path, token):
    path = tmp_path / "the-token"
    path.write_text(token + "\n")
    return str(path)


@pytest.fixture
def other(tmp_path):
    """Another server, that wants a password for everything."""
    with GitHub(tmp_path / "other") as hub:
        hub.token = "another"
        hub.create("o/private", private=True)
        yield hub


def given_away(hub):
    """The credentials that a server was sent."""
    assert hub.requests
    return [r.headers["authorization"] for r in hub.requests if authorized(r)]


def authorized(request):
    return "authorization" in request.headers


def traces(token, folder):
    """The files that contain the token, as it is or as HTTP sends it."""
    forms = token.encode(), b64encode(f"x-access-token:{token}".encode())
    found = []
    for path in Path(folder).rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            found += [path for form in forms if form in content]
    return found


class Watcher:
    """Looks at all processes, as long as it lasts, for some text."""

    def __init__(self, text):
        self.text = text.encode()
        self.environ = set()  # programs, with their first argument
        self.cmdline = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def _watch(self):
        while not self._end.wait(0.02):
            for process in Path("/proc").glob("[0-9]*"):
                for file, found in (
                    ("environ", self.environ),
                    ("cmdline", self.cmdline),
                ):
                    with contextlib.suppress(OSError):
                        if self.text in (process / file).read_bytes():
                            exe = os.readlink(process / "exe").split("/")[-1]
                            words = (process / "cmdline").read_text().split("\0")
                            found.add(" ".join([exe, *words[1:2]]))


@pytest.mark.parametrize("way", ["file", "environment"])
def test_no_script_of_a_stranger_meets_the_token(
    way,
    github,
    make_repo,
    configure,
    run_poller,
    builds,
    name,
    base_image,
    token,
    token_file,
    tmp_path,
    docker,
    registry,
):
    github.token = token
    package = {
        "name": "app",
        "version": "1.0.0",
        "scripts": {"preinstall": "node spy.js install", "test": "node spy.js test"},
    }
    files = application(base_image) | {"spy.js": SPY}
    files["package.json"] = json.dumps(package)
    files["Dockerfile"] += "RUN node spy.js build\n"
    tree = make_repo(files, private=True)
    path = {"GITHUB_TOKEN_FILE": token_file}
    given = path if way == "file" else {"GITHUB_TOKEN": token}
    poller = run_poller(configure(name), **given)
    poller.wait_for(lambda: (builds / name / "state.json").exists())
    tree.commit({"app.js": f"// {name}\n"})  # as no build before, or none would run
    tree.push()  # that has the token in its arguments
    with Watcher(token) as token_watch, Watcher(token_file) as path_watch:
        poller.wait_for(lambda: results(builds, name))
        wait_for(lambda: github.statuses and github.statuses[-1]["state"] == "success")
        assert poller.stop() == 143
    [result] = results(builds, name)
    assert result["status"] == "success", poller.output

    console = (builds / name / "latest" / "console.log").read_text()
    for place in "install", "build", "test":  # the spy was there, and saw something
        assert f"spy {place} " in console
    assert console.count("npm_lifecycle_event") >= 2
    assert token not in console
    assert "GITHUB_TOKEN" not in console
    assert token_file not in console
    assert not traces(token, builds)
    assert token not in poller.output
    for inspect in ("image", "inspect"), ("history", "--no-trunc"):
        assert token not in docker(*inspect, result["image"])

    assert token_watch.cmdline == path_watch.cmdline == set()
    watch = path_watch
    if way == "file":  # just a path, and that in the environment of our own parts
        assert token_watch.environ == set()
    else:
        watch = token_watch
    assert {"bash", "git"} <= {program.split()[0] for program in watch.environ}
    # The path is known to later steps, for the cage to hide the file; the token is not.
    later = "|bash .*/(npm-install|version|build|unit-test|tag-push).sh$"
    strange = re.compile(f"node|dockerd|docker (?!rm){later * (way == 'environment')}")
    assert not [program for program in watch.environ if strange.match(program)]


@pytest.fixture
def steps(github, configure, tmp_path, builds, name, token_file):
    """steps(SCRIPT, ARGS…) -> the run of a script of ours, with the token."""
    environment = {k: v for k, v in os.environ.items() if k != "GITHUB_TOKEN"}
    environment |= {**GIT, "PYTHON": sys.executable, "GITHUB_TOKEN_FILE": token_file}
    environment |= {"GITHUB_SERVER_URL": github.url, "CONFIG": str(configure(name))}

    def steps(script, *args, **more):
        return subprocess.run(
            [ROOT / "scripts" / script, *args],
            env=environment | more,
            capture_output=True,
            text=True,
            errors="replace",
        )

    return steps


def staged(steps, tree, name):
    done = steps("stage.sh", name, "refs/heads/main", tree.head)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_steps_by_hand_keep_it_from_npm_and_docker(
    steps, github, make_repo, name, token, tmp_path, base_image
):
    github.token = token
    tree = make_repo(application(base_image) | {"spy.js": SPY}, private=True)
    build = staged(steps, tree, name)
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\nenv >>"$0.env"; exec false\n')
    docker.chmod(0o755)
    for script in "clone.sh", "version.sh", "build.sh":
        done = steps(script, build, GITHUB_TOKEN=token, DOCKER=str(docker))
    assert done.returncode == 75
    assert "GITHUB_TOKEN" not in docker.with_name("docker.env").read_text()


def test_a_server_that_repeats_the_token_is_masked(
    steps, github, make_repo, run_poller, configure, name, token, token_file
):
    github.token = token
    tree = make_repo(private=True)
    build = staged(steps, tree, name)
    # One that git has sent it to, of course.
    github.fault(
        "info/refs",
        times=-1,
        status=400,
        body=f"{token}: no\nno {token}{token}",
        headers={"Content-Type": "text/plain"},
    )
    done = steps("clone.sh", build)
    assert done.returncode == 75
    assert "***" in done.stdout
    assert token not in done.stderr + done.stdout
    assert not traces(token, build)
    poller = run_poller(configure(name), GITHUB_TOKEN_FILE=token_file)
    poller.said("git cannot read it")
    poller.stop()
    assert token not in poller.output


def test_a_submodule_elsewhere_gets_no_token(
    steps, github, other, make_repo, name, token
):
    github.token = token
    url = f"{other.url}/o/private.git"
    tree = make_repo({".gitmodules": f'[submodule "s"]\npath = s\nurl = {url}\n'})
    tree.git("update-index", "--add", "--cacheinfo", f"160000,{tree.head},s")
    tree.git("commit", "-qm", "fix: a submodule")
    tree.push()
    done = steps("clone.sh", staged(steps, tree, name))
    assert done.returncode == 75
    assert "cannot fetch a submodule" in done.stdout
    assert not given_away(other)


def test_lfs_elsewhere_gets_no_token(steps, github, other, make_repo, name, token):
    github.token = token
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 3\n"
    tree = make_repo(private=True)
    files = {
        ".lfsconfig": f"[lfs]\nurl = {other.url}/o/private.git/info/lfs\n",
        ".gitattributes": "*.bin filter=lfs\n",
        "a.bin": pointer.format("1" * 64),
    }
    tree.commit(files)
    tree.git("push", "-q", "--no-verify", "origin", "main")  # LFS has a hook for it
    done = steps("clone.sh", staged(steps, tree, name))
    assert done.returncode == 75
    assert "cannot fetch the repository's Git LFS files" in done.stdout
    assert not given_away(other)


def test_a_redirect_elsewhere_gets_no_token(
    steps, github, other, make_repo, name, token
):
    github.token = token
    tree = make_repo(private=True)
    build = staged(steps, tree, name)
    for suffix in "?service=git-upload-pack", "":
        place = f"{other.url}/o/private.git/info/refs{suffix}"
        github.fault("info/refs", times=-1, status=302, headers={"Location": place})
        assert steps("clone.sh", build).returncode == 75
        github.faults.clear()
    assert not given_away(other)


def test_the_api_pointing_elsewhere_gets_no_token(
    github, other, make_repo, run_poller, configure, builds, name, token, token_file
):
    github.token = token
    tree = make_repo(private=True)
    github.noise(name, 200)
    link = f'<{other.url}/repos/{name}/events?page=2>; rel="next"'
    github.fault("/events", status=200, body=[], headers={"Link": link})
    poller = run_poller(configure(name), GITHUB_TOKEN_FILE=token_file)
    wait_for(lambda: any(r.method == "GET" for r in other.requests))
    github.fault(
        "POST .*/statuses/", times=-1, status=307, headers={"Location": other.url}
    )
    poller.wait_for(lambda: (builds / name / "state.json").exists())
    tree.commit()
    tree.push()
    wait_for(lambda: any(r.method == "POST" for r in other.requests))
    poller.stop()
    assert not given_away(other)
    assert given_away(github)
