"""The middle steps without a push: each over HTTP, on a real engine and registry."""

import fcntl
import json
import os
import sys
from functools import partial

import pytest

from tests.support.parts import GIT, STEPS, application, wait_for
from tests.support.web import Api, serving
from tests.web.test_live import Follower
from wrapper.builds import slots
from wrapper.builds.directory import Build


@pytest.fixture
def api(make_repo, configure, github, name, base_image, monkeypatch):
    """An API for a repository with an application; api.tree is it."""
    monkeypatch.setenv("GITHUB_SERVER_URL", github.url)
    monkeypatch.setenv("PYTHON", sys.executable)
    for key, value in GIT.items():
        monkeypatch.setenv(key, value)
    for secret in ("GITHUB_TOKEN", "GITHUB_TOKEN_FILE", "CONFIG", "BUILDS"):
        monkeypatch.delenv(secret, raising=False)
    tree = make_repo(application(base_image, "1.0.0"))
    tree.git("tag", "v1.0.0")
    tree.push("main", "v1.0.0")
    with serving(configure(name)) as (url, _), Api(url) as one:
        yield one


def stage(api, name, **more):
    answer = api.post("/stages", json={"repository": name} | more)
    assert answer.status_code == 201, answer.text
    where = answer.headers["Location"].removeprefix("/api/v1")
    assert answer.json()["build"]["status"] == "staged"
    return where


def has_ended(api, run):
    return not api.get(run).json()["running"]


def test_the_six_steps_with_the_live_log_open(api, builds, name, registry):
    where = stage(api, name, ref="v1.0.0")
    build = Build((builds / name / "latest").resolve())
    follower = Follower(api, where)
    for step in STEPS:
        answer = api.post(f"{where}/steps/{step}")
        assert answer.status_code in (200, 202), answer.text
        assert answer.headers["Location"] == f"/api/v1{where}/runs/{step}"
        run = f"{where}/runs/{step}"
        wait_for(partial(has_ended, api, run), 120)
        done = api.get(run).json()
        console = (build.path / "console.log").read_text()
        assert done["exit_code"] == 0, console
        assert done["by"].startswith("me@127.0.0.1")
        assert done["offset"] <= done["end"] == len(console.encode())
        follower.has(console)
        part = console.encode()[done["offset"] : done["end"]]
        assert api.get(f"{where}/log?step={step}").content == part
    assert len(follower.starts) == 1
    assert set(api.get(f"{where}/runs").json()["runs"]) == set(STEPS)
    assert api.get(where).json()["summary"]["version"] == "1.0.0"
    pushed = api.get(f"{where}/files/pushed").text.splitlines()
    assert {line.partition("@")[0].rpartition(":")[2] for line in pushed} >= {"1.0.0"}
    assert registry.digest(name, "1.0.0") in pushed[0]
    follower.enough = 0


def test_what_a_script_refuses_is_told_in_its_own_words(api, builds, name):
    where = stage(api, name)
    build = Build((builds / name / "latest").resolve())
    early = api.is_problem(409, "POST", f"{where}/steps/build")
    words = f"build.sh: {build.path} has no src (run the steps before this one first)"
    assert (early["detail"], early["exit_code"]) == (words, 2)
    unknown = api.is_problem(404, "POST", f"{where}/steps/biuld")
    assert unknown["detail"] == 'biuld is no step, did you mean "build"?'
    with (build.path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"{os.uname().nodename} 4711 token\n")
        lock.flush()
        busy = api.is_problem(409, "POST", f"{where}/steps/clone")
        assert (busy["pid"], busy["exit_code"]) == (4711, 69)
        assert "is being worked on by process 4711" in busy["detail"]


def test_a_step_that_fails_is_an_answer(api, builds, name):
    where = stage(api, name)
    build = Build((builds / name / "latest").resolve())
    (build.path / "settings/url").write_text("http://127.0.0.1:1/none.git")
    info = json.loads((build.path / "build.json").read_text())
    info["url"] = "http://127.0.0.1:1/none.git"
    (build.path / "build.json").write_text(json.dumps(info))
    answer = api.post(f"{where}/steps/clone", headers={"Prefer": "wait=60"})
    assert answer.status_code == 200
    assert answer.json()["exit_code"] == 75
    assert answer.json()["message"].startswith("clone.sh: ")


def test_no_more_at_a_time_than_concurrency_allows(api, builds, name):
    where = stage(api, name)
    places = [slots.take(builds, 2) for _ in range(2)]
    assert slots.take(builds, 2) is None
    full = api.is_problem(429, "POST", f"{where}/steps/clone")
    assert full["retry_after"] == 10
    for place in filter(None, places):
        slots.give_back(place)
    waiting = {"headers": {"Prefer": "wait=60"}}
    assert api.post(f"{where}/steps/clone", **waiting).json()["exit_code"] == 0


def test_what_cannot_be_staged(api, name):
    def refused(status, **body):
        return api.is_problem(status, "POST", "/stages", json=body)["detail"]

    assert "has no branch or tag nothing" in refused(
        422, repository=name, ref="nothing"
    )
    assert "is no name of a ref" in refused(422, repository=name, ref="-x")
    assert "is not configured" in refused(404, repository="o/unknown")
    assert refused(422) == "repository: missing"
    assert refused(422, repository=name, rfe="x") == 'rfe: unknown, did you mean "ref"?'


def test_what_a_ref_would_become(api, name, registry):
    found = api.get(f"/plan?repository={name}&ref=v1.0.0").json()
    assert (found["version"], found["ref"]) == ("1.0.0", "refs/tags/v1.0.0")
    assert f"{registry.address}/{name}:latest" in found["tags"]
    assert found["labels"]["org.opencontainers.image.version"] == "1.0.0"
    refused = api.is_problem(404, "GET", f"/plan?repository={name}&ref=none")
    assert "has no branch or tag none" in refused["detail"]
