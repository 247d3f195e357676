"""What changes a build is asked of a poller that runs, and its answer is shown."""

import json
from contextlib import ExitStack

import pytest

from tests.e2e.conftest import Stub
from tests.support.parts import wait_for
from tests.support.web import Api, outcome, serving
from wrapper.builds.directory import builds_in


@pytest.fixture
def polled(make_repo, configure, here, name):
    """polled() -> a poller that has seen the repository, with an API beside it."""
    with ExitStack() as stack:

        def polled():
            tree = make_repo()
            config = configure(name, poll={"interval": 3600, "sweep": 3600})
            poller = here(config)
            poller.says(f"noted main at {tree.head[:7]}")
            url, _ = stack.enter_context(serving(config))
            poller.tree, poller.api = tree, stack.enter_context(Api(url))
            return poller

        yield polled


def test_a_build_is_asked_for_and_found(polled, name, builds):
    poller = polled()
    api = poller.api
    done = outcome(api, api.post("/builds", json={"repository": name, "what": "main"}))
    assert done.status_code == 303
    [build] = builds_in(builds / name)
    where = f"/builds/{name}/{build.id}"
    assert done.headers["Location"] == f"/api/v1{where}"
    wait_for(lambda: api.get(where).json()["summary"]["status"] == "success")
    assert build.info["source"] == "trigger"
    journal = builds / "journal.jsonl"
    assert "asked for by trigger, me@127.0.0.1" in journal.read_text()
    again = outcome(api, api.post(f"{where}/rerun", json={"from": "unit-test"}))
    assert again.headers["Location"] == f"/api/v1{where}"
    assert "from unit-test, asked for by me@127.0.0.1" in journal.read_text()


def test_a_build_that_runs_is_cancelled(polled, name, builds):
    poller = polled()
    api = poller.api
    Stub.gate.clear()
    outcome(api, api.post("/builds", json={"repository": name}))
    [build] = builds_in(builds / name)
    where = f"/builds/{name}/{build.id}"
    wait_for(lambda: Stub.running)
    assert api.post(f"{where}/rerun", json={"from": "x"}).status_code == 202
    Stub.gate.set()
    wait_for(build.result)
    ended = api.is_problem(409, "POST", f"{where}/cancel")
    assert ended["detail"] == f"{build.id} had ended: success"


def test_what_the_poller_refuses_is_a_problem_in_its_words(polled, name, builds):
    poller = polled()
    api = poller.api
    wrong = outcome(api, api.post("/builds", json={"repository": name, "what": "no"}))
    assert wrong.status_code == 409
    assert "has no branch or tag no" in wrong.json()["detail"]
    outcome(api, api.post("/builds", json={"repository": name}))
    [build] = builds_in(builds / name)
    wait_for(build.result)
    rerun = api.post(f"/builds/{name}/{build.id}/rerun", json={"from": "bulid"})
    refused = outcome(api, rerun)
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("bulid is no step")
    for gone in "0" * 32, "x":
        api.is_problem(404, "GET", f"/requests/{gone}")


@pytest.mark.parametrize("all_of_them", [True, False])
def test_a_pause(polled, name, builds, all_of_them):
    poller = polled()
    api = poller.api
    path = "/pause" if all_of_them else f"/repositories/{name}/pause"
    assert outcome(api, api("PUT", path)).status_code == 200
    found = api.get("/overview").json()
    assert found["poller"]["paused"] is all_of_them
    assert found["repositories"][0]["paused"] is not all_of_them
    outcome(api, api.post("/builds", json={"repository": name}))
    [waiting] = wait_for(lambda: api.get("/overview").json()["waiting"])
    assert "paused" in waiting["why"]
    assert outcome(api, api("DELETE", path)).status_code == 200
    [build] = builds_in(builds / name)
    wait_for(build.result)


def test_a_configuration_that_is_put_is_taken_at_once(polled, name, configure):
    poller = polled()
    api = poller.api
    got = api.get("/config")
    config = got.json()
    config["repositories"]["o/new"] = {"url": poller.tree.url}
    body = json.dumps(config).encode()
    headers = {"If-Match": got.headers["ETag"], "Content-Type": "application/json"}
    assert api("PUT", "/config", data=body, headers=headers).status_code == 200
    poller.says("configuration: added: o/new")
    poller.says("o/new: noted main")
    names = [one["name"] for one in api.get("/repositories").json()["repositories"]]
    assert names == [name, "o/new"]
