import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.server import Answer, Fault, Server
from wrapper.builds import host

HOST = "registry.example.com:5000"
ABSENT = "Error response from daemon: manifest for x not found: manifest unknown"
ROOT = Path(__file__).resolve().parent.parent.parent
DOCKER = """#!/bin/sh
# As much of a docker client as the doctor asks for; says what FAKE_* tells it.
case $1 in
  --version) echo "Docker version 28.2.2, build x" ;;
  version) test -z "$FAKE_DOWN" || { echo "$FAKE_DOWN" >&2; exit 1; } ;;
  build) test -n "$FAKE_BUILDX" ;;
  pull) echo "$FAKE_PULL" >&2; exit 1 ;;
esac
"""


class FakeRegistry:
    def __init__(self):
        self.status = 200
        self._server = Server(0, lambda _: (Answer(self.status), Fault("")))
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._server.start()
        self.stop = self._server.stop


@pytest.fixture
def fake_registry():
    found = FakeRegistry()
    yield found
    found.stop()


@pytest.fixture
def doctor(tmp_path, github, make_repo, configure, name):
    """doctor(NAME=VALUE…) -> its exit code and lines, with everything as it should be.

    doctor.fails(WORDS, NAME=VALUE…) expects exactly one FAIL, with these words.
    """
    make_repo()
    client = tmp_path / "docker"
    client.write_text(DOCKER)
    client.chmod(0o755)
    (tmp_path / "token").write_text("t0ken\n")
    (tmp_path / "token").chmod(0o600)
    github.token = "t0ken"

    class Doctor:
        config = configure(name, registry=HOST)
        before = ""  # Python to run first

        def __call__(self, **env):
            given = {
                **{
                    k: v for k, v in os.environ.items() if k not in ("BUILDS", "CONFIG")
                },
                "PYTHONPATH": str(ROOT),
                "DOCKER": str(client),
                "DOCKER_CONFIG": str(tmp_path),
                "FAKE_BUILDX": "yes",
                "FAKE_PULL": ABSENT,
                "GITHUB_API_URL": github.url,
                "GITHUB_SERVER_URL": github.url,
                "GITHUB_TOKEN_FILE": str(tmp_path / "token"),
                **env,
            }
            program = (
                f"{self.before}import sys\nfrom wrapper.commands.doctor import run\n"
            )
            program += f"sys.exit(run({str(self.config)!r}))"
            done = subprocess.run(
                [sys.executable, "-P", "-c", program],
                capture_output=True,
                text=True,
                env=given,
                timeout=120,
            )
            assert "t0ken" not in done.stdout + done.stderr
            assert "Traceback" not in done.stderr, done.stderr
            self.lines = done.stdout.splitlines()
            self.failed = [line for line in self.lines if line.startswith("FAIL")]
            assert done.returncode == bool(self.failed)
            return done.returncode

        def has(self, pattern):
            return any(re.search(pattern, line) for line in self.lines)

        def fails(self, pattern, **env):
            assert self(**env) == 1
            assert len(self.failed) == 1, self.failed
            assert re.search(pattern, self.failed[0]), self.failed
            assert "(" in self.failed[0] or "must be" in self.failed[0]  # what to do

        def warns(self, pattern, **env):
            assert self(**env) == 0, self.failed
            assert self.has(f"^warn .*{pattern}"), self.lines

    return Doctor()


def test_all_is_well(doctor, github, name, tmp_path):
    assert doctor() == 0, doctor.failed
    for tool in "python", "bash", "git", "npm", "jq", "skopeo", "flock", "setpriv":
        assert doctor.has(rf"^ok +{tool} \d+\.\d+"), tool
    assert doctor.has(r"^ok .*docker 28\.2\.2")
    assert doctor.has("^ok .*engine answers")
    assert doctor.has("^ok .*BuildKit is used")
    assert doctor.has(f"^ok .*{github.url} answers")
    assert doctor.has("^ok .*token is valid")
    assert doctor.has(r"^ok .*\d+ of 100000 requests are left until \d\d:\d\d")
    assert doctor.has(r"^ok .*clock is \d s")
    assert doctor.has(rf"^ok .*\d+ MiB are free in {tmp_path}/builds")
    assert doctor.has(f"^ok .*registry {HOST} answers$")
    assert doctor.has(f"^ok .*{name}: git sees it, branches to build: main")
    assert len(doctor.lines) <= 24  # a screen
    asked = [request.path for request in github.requests if ".git" not in request.path]
    assert asked == ["/rate_limit"]  # which is free


def tools_without(tmp_path, tool):
    """A PATH with all that the doctor asks for but one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    names = ["bash", "sh", "git", "npm", "node", "jq", "skopeo", "flock"]
    names += ["setpriv", "timeout", "git-lfs"]
    names += ["cat", "env", "sed", "realpath", "dirname"]
    for name in names:
        found = subprocess.run(["which", name], capture_output=True, text=True).stdout
        if found and name != tool:
            (folder / name).symlink_to(found.strip())
    return str(folder)


@pytest.mark.parametrize("tool", ["npm", "jq", "skopeo", "flock", "setpriv", "timeout"])
def test_a_missing_tool(doctor, tmp_path, tool):
    path = tools_without(tmp_path, tool)
    doctor.fails(f"{tool}: No such file or directory .*install", PATH=path)


def test_no_docker_client(doctor):
    assert doctor(DOCKER="no-such-client") == 1
    assert doctor.has("^FAIL .*no-such-client: No such file .*install docker, or name")


@pytest.mark.parametrize("tool, version", [("bash", "4.3.48"), ("git", "2.20.1")])
def test_a_tool_that_is_too_old(doctor, tmp_path, tool, version):
    path = tools_without(tmp_path, tool)
    old, real = Path(path, tool), f"/usr/bin/{tool}"
    old.write_text(
        f'#!/bin/sh\n[ "$1" != --version ] || {{ echo {tool} {version}; exit; }}\n'
        f'exec {real} "$@"\n'
    )
    old.chmod(0o755)
    doctor.fails(f"{tool} {version} is too old .*install {tool}", PATH=path)


def test_git_lfs_is_wished_for(doctor, tmp_path):
    doctor.warns("git-lfs: not found", PATH=tools_without(tmp_path, "git-lfs"))


def test_the_engine_is_down(doctor):
    doctor.fails("engine: Cannot connect.*DOCKER_HOST", FAKE_DOWN="Cannot connect")


def test_without_buildkit(doctor):
    doctor.warns("BuildKit is not used .*install buildx", FAKE_BUILDX="")
    doctor.warns("BuildKit is not used", DOCKER_BUILDKIT="0")


def test_a_bad_configuration(doctor):
    doctor.config.write_text('{"registry": "a:1", "repositories": {"x": {}}}')
    doctor.fails(f"{doctor.config}: repositories.x: .*OWNER/NAME")


@pytest.mark.parametrize(
    "words",
    [
        ABSENT,
        "Error response from daemon: failed to resolve reference: x: not found",
        "Error: initializing source docker://x: reading manifest: name unknown: x",
    ],
)
def test_the_registry_answers(doctor, words):
    assert doctor(FAKE_PULL=f"Using default tag\n{words}") == 0
    assert doctor.has(f"^ok .*registry {HOST} answers$")


@pytest.mark.parametrize(
    "words",
    [
        "Error response from daemon: Head x: no basic auth credentials",
        "Error response from daemon: Head x: unauthorized: project x not found",
        "Error: reading manifest none in x: authentication required",
    ],
)
def test_the_registry_asks_who_we_are(doctor, words):
    doctor.fails(rf"asks who we are \(docker login {HOST}\)", FAKE_PULL=words)


DENIED = "pull access denied for x, repository does not exist or may require a login"


def test_a_registry_that_denies_what_it_may_not_have(doctor, configure, name):
    doctor.warns(f"denies us {name} .docker login {HOST}", FAKE_PULL=DENIED)
    doctor.config = configure(name, registry="docker.io")
    assert doctor(FAKE_PULL=DENIED) == 0
    assert doctor.has(r"^ok .*registry docker\.io answers$")


@pytest.mark.parametrize(
    "words",
    ["dial tcp: lookup x: no such host", "x509: unknown authority", "x is not found"],
)
def test_the_registry_cannot_be_reached(doctor, words):
    expected = rf"registry {HOST} cannot be reached: {words} \(.*correct registry"
    doctor.fails(expected, FAKE_PULL=words)


def test_a_client_that_hangs_is_not_waited_for(tmp_path, monkeypatch):
    client = tmp_path / "docker"
    client.write_text("#!/bin/sh\nexec sleep 60\n")
    client.chmod(0o755)
    monkeypatch.setenv("DOCKER", str(client))
    monkeypatch.setattr(host, "PULL", 0.2)
    found = host.registry(HOST, "o/n")
    assert found.level == "FAIL" and "no answer in 0 seconds" in found.line


def test_without_an_engine_the_registry_is_not_asked(doctor):
    doctor.fails("engine: down", FAKE_DOWN="down")
    assert not doctor.has("registry .* answers|cannot be reached")


def test_github_is_unreachable(doctor):
    doctor.fails(
        "GitHub: http://127.0.0.1:1 cannot be reached: .*refused.*GITHUB_API_URL",
        GITHUB_API_URL="http://127.0.0.1:1",
    )


def test_github_is_in_trouble(doctor, github):
    github.fault("/rate_limit", status=503, body="<html>")
    doctor.fails("GitHub: .* answers 503")


def test_a_server_without_rate_limits(doctor, github):
    github.fault("/rate_limit", status=404, body={"message": "not enabled"})
    assert doctor() == 0
    assert doctor.has("^ok .*sets no rate limit")


def test_the_token_is_wrong(doctor, tmp_path):
    (tmp_path / "token").write_text("another")
    doctor.fails("GitHub refuses the token .*make a new one")


def test_the_token_cannot_be_read(doctor, tmp_path):
    assert doctor(GITHUB_TOKEN_FILE=str(tmp_path / "gone")) == 1
    assert doctor.has(f"^FAIL .*GITHUB_TOKEN_FILE: {tmp_path}/gone cannot be read")


def test_no_token(doctor, github):
    github.token = None
    doctor.warns("no token: 60 requests .*set GITHUB_TOKEN_FILE", GITHUB_TOKEN_FILE="")


def test_the_scopes_of_a_token(doctor, github):
    core = {"limit": 5000, "remaining": 9, "reset": time.time() + 60}
    body = {"resources": {"core": core}}
    headers = {"X-OAuth-Scopes": "read:org, gist"}
    github.fault("/rate_limit", status=200, body=body, headers=headers)
    doctor.warns("its scopes: read:org, gist .*repo:status")
    assert doctor.has("^warn .*9 of 5000 requests are left")
    headers = {"X-OAuth-Scopes": "repo, gist"}
    github.fault("/rate_limit", status=200, body=body, headers=headers)
    assert doctor() == 0
    assert doctor.has("^ok .*its scopes: repo, gist")


@pytest.mark.parametrize("seconds, word", [(3600, "ahead of"), (-3600, "behind")])
def test_the_clock_is_wrong(doctor, seconds, word):
    doctor.before = f"import time; t = time.time; time.time = lambda: t() + {seconds};"
    doctor.warns(rf"the clock is (3[56]\d\d) s {word} GitHub \(let NTP set it\)")


def test_an_enterprise_server_has_two_addresses(doctor):
    assert doctor(GITHUB_API_URL="") == 1  # nothing in a test reaches api.github.com
    assert doctor.has("^warn .*GITHUB_SERVER_URL is set, but the API is https://api")


def test_a_repository_that_is_not_there(doctor, configure, name):
    doctor.config = configure(name, "o/gone", registry=HOST)
    doctor.fails(r"o/gone: .*\(correct url; a private repository needs a token")


def test_a_private_repository(doctor, make_repo, configure, name):
    make_repo(name=f"{name}-private", private=True)
    doctor.config = configure(f"{name}-private", registry=HOST)
    assert doctor() == 0, doctor.failed
    doctor.fails(f"{name}-private: .*needs a token", GITHUB_TOKEN_FILE="")


def test_no_branch_would_be_built(doctor, configure, name):
    other = {name: {"branches": ["dev", "release/*"]}}
    doctor.config = configure(repositories=other, registry=HOST)
    doctor.warns(rf"{name}: no branch matches dev, release/\* \(it has: main\)")


def test_where_nothing_is_on_github_it_is_not_asked(
    doctor, configure, make_repo, name, tmp_path
):
    tree = make_repo(name=f"{name}-elsewhere")
    here = {"url": f"file://{tree.folder}/.git"}
    doctor.config = configure(repositories={name: here}, registry=HOST)
    assert doctor(GITHUB_API_URL="http://127.0.0.1:1") == 0, doctor.lines
    assert not doctor.has("GitHub")


def test_a_target_that_nobody_is(doctor, configure, name, tmp_path):
    wish = {"notify": {"to": ["team", "nope"]}}
    doctor.config = configure(repositories={name: wish}, registry=HOST)
    doctor.warns("NOTIFY_FILE is not set.* config.json names team")
    (tmp_path / "targets").write_text('{"team": {"command": ["true"]}}')
    doctor.warns("NOTIFY_FILE names no target nope", NOTIFY_FILE=f"{tmp_path}/targets")
    assert not doctor.has("team")


def test_the_disk_is_full(doctor, configure, name):
    doctor.config = configure(name, registry=HOST, disk_free_min="1000TiB")
    doctor.fails(r"MiB are free in .*, wanted are \d+ .*disk_free_min")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_the_builds_folder_cannot_be_written(doctor, tmp_path):
    (tmp_path / "builds").mkdir(0o555)
    doctor.fails("builds cannot be written to .*chown")


def test_the_builds_folder_is_a_file(doctor, tmp_path):
    (tmp_path / "builds").write_text("")
    doctor.fails("builds cannot be written to .*set builds")


@pytest.fixture
def real(doctor, configure, docker, name):
    """real(REGISTRY) -> its exit code, by the engine that is there."""

    def real(registry):
        doctor.config = configure(name, registry=registry)
        return doctor(DOCKER=os.environ.get("DOCKER", "docker"))

    return real


def test_real_engine_and_registry(doctor, real):
    assert real(os.environ["REGISTRY"]) == 0, doctor.failed
    assert doctor.has(f"^ok .*registry {os.environ['REGISTRY']} answers")
    assert doctor.has("BuildKit is (not )?used")


def test_a_real_engine_finds_no_registry(doctor, real):
    assert real("127.0.0.1:1") == 1
    [line] = doctor.failed
    assert re.search("registry 127.0.0.1:1 cannot be reached: .*refused", line)


@pytest.mark.parametrize(
    "status, words",
    [
        (404, "cannot be reached: .*404"),
        (500, "cannot be reached: .*500"),
        (401, "asks who we are .docker login 127"),
    ],
)
def test_a_real_engine_and_what_answers_in_a_registrys_place(
    doctor, real, fake_registry, status, words
):
    fake_registry.status = status
    assert real(fake_registry.host) == 1
    [line] = doctor.failed
    assert re.search(f"registry {fake_registry.host} {words}", line)


CONTAINER = "0" * 64
MOUNTED = (
    f"9 8 0:1 /x/containers/{CONTAINER}/hostname /etc/hostname rw - ext4 /dev/x rw\n"
)


@pytest.mark.parametrize(
    ("mounts", "warned"),
    [
        ('[{"Source": "/srv", "Destination": "/srv"}]', False),
        ('[{"Source": "/srv/b", "Destination": "/srv/b"}]', False),
        ('[{"Source": "/data", "Destination": "/srv"}]', True),
        ("[]", True),
        ("null", True),
        ("", False),  # the engine does not run this container, and cannot tell
    ],
)
def test_a_container_says_of_builds_whether_the_engine_sees_them(
    tmp_path, monkeypatch, mounts, warned
):
    client = tmp_path / "docker"
    client.write_text(f"#!/bin/sh\ncase $* in *{CONTAINER}) echo '{mounts}' ;; esac\n")
    client.chmod(0o755)
    monkeypatch.setenv("DOCKER", str(client))
    (tmp_path / "mountinfo").write_text(MOUNTED)
    found = list(host.container(Path("/srv/b"), str(tmp_path / "mountinfo")))
    assert bool(found) == warned
    if warned:
        assert "-v /srv/b:/srv/b" in found[0].line


def test_outside_of_a_container_nothing_is_said_of_the_engines_paths(tmp_path):
    (tmp_path / "mountinfo").write_text(MOUNTED.replace("/etc/hostname", "/mnt"))
    assert not list(host.container(Path("/srv/b"), str(tmp_path / "mountinfo")))
