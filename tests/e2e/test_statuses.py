"""What GitHub is told of a build's commit: pending, then how it ended, in any case."""

import json
import threading
import time

import pytest

from tests.e2e.conftest import Stub
from tests.support.parts import wait_for
from wrapper.__main__ import main
from wrapper.builds import statuses
from wrapper.builds.directory import builds_in

POST = "POST /repos/.*/statuses/"


@pytest.fixture
def token(monkeypatch, github):
    github.token = "ghp_any"
    monkeypatch.setenv("GITHUB_TOKEN", github.token)


@pytest.fixture
def told(github):
    """told(): (commit, state) in order."""
    return lambda: [(s["sha"], s["state"]) for s in github.statuses]


def push(tree):
    commit = tree.commit()
    tree.push()
    return commit


def test_pending_then_success(watched, name, github, token, told):
    tree, _poller = watched()
    Stub.gate.clear()
    commit = push(tree)
    wait_for(lambda: told() == [(commit, "pending")])
    Stub.gate.set()
    wait_for(lambda: told() == [(commit, "pending"), (commit, "success")])
    last = github.statuses[-1]
    assert last["context"] == "ci/docker-build-server"
    assert last["repository"] == name


def test_without_a_token_nothing_is_told(watched, name, github):
    tree, poller = watched()
    push(tree)
    wait_for(lambda: poller.states(name) == ["success"])
    poller.settled(name)
    assert not [r for r in github.requests if r.method == "POST" and "status" in r.path]


def test_where_it_is_switched_off_nothing_is_told(watched, name, github, token):
    tree, poller = watched(status=False)
    push(tree)
    wait_for(lambda: poller.states(name) == ["success"])
    poller.settled(name)
    assert github.statuses == []


def test_the_settings_of_the_build_count_as_a_person_leaves_them(
    watched, name, github, token, told, make_repo
):
    tree, poller = watched(status=False)
    make_repo(name=f"{name}-other")
    (poller.folder / ".pause").touch()
    commit = push(tree)
    wait_for(lambda: poller.counts(name, 1))
    [build] = builds_in(poller.folder / name)
    settings = build.path / "settings"
    settings.mkdir(exist_ok=True)
    (settings / "status").write_text("true\n")
    (settings / "repository").write_text(f"{name}-other\n")
    (poller.folder / ".pause").unlink()
    (poller.folder / ".wake").touch()
    wait_for(lambda: (commit, "success") in told())
    assert {s["repository"] for s in github.statuses} == {f"{name}-other"}


def test_one_that_fails_is_tried_again_and_holds_up_no_build(
    watched, name, github, token, told, monkeypatch
):
    monkeypatch.setattr(statuses, "RETRY", 0.1)
    tree, poller = watched()
    github.fault(POST, times=4, status=502)
    commit = push(tree)
    wait_for(lambda: poller.states(name) == ["success"])
    while not told():
        (poller.folder / ".wake").touch()  # it is looked at again and again
    wait_for(lambda: told()[-1] == (commit, "success"))
    assert poller.output.count("commit status: GitHub answers 502") == 1
    assert poller.output.count("finished main") == 1


def test_what_github_shows_as_pending_is_never_given_up(
    watched, name, github, token, told, monkeypatch
):
    monkeypatch.setattr(statuses, "RETRY", 0.01)
    monkeypatch.setattr(statuses, "GIVE_UP", 0.0)
    tree, _poller = watched()
    Stub.gate.clear()
    commit = push(tree)
    wait_for(lambda: told() == [(commit, "pending")])
    github.fault(POST, times=5, status=502)
    Stub.gate.set()
    wait_for(lambda: told()[-1] == (commit, "success"))


def test_a_token_that_may_not_is_said_once_and_given_up(
    watched, name, github, token, monkeypatch
):
    monkeypatch.setattr(statuses, "SELDOM", 0.01)
    tree, poller = watched()
    github.fault(
        POST, times=-1, status=403, body={"message": "Resource not accessible"}
    )
    for _ in range(2):
        push(tree)
        wait_for(lambda: set(poller.states(name)) == {"success"})
        poller.settled(name)
    assert poller.output.count("commit status: GitHub forbids it") == 1
    asked = [
        r for r in github.requests if r.method == "POST" and "/statuses/" in r.path
    ]
    assert len(asked) <= 4


def test_a_status_is_closed_after_a_crash(watched, name, github, token, told):
    tree, poller = watched()
    Stub.gate.clear()
    commit = push(tree)
    wait_for(lambda: told() == [(commit, "pending")])
    wait_for(lambda: Stub.running)
    poller.stop()
    [build] = builds_in(poller.folder / name)
    assert told() == [(commit, "pending")]
    build.close("success", "")  # it ended, and the poller did not live to tell
    poller.start()
    wait_for(lambda: told() == [(commit, "pending"), (commit, "success")])
    poller.settled(name)
    poller.stop()
    poller.start()
    poller.settled(name)
    assert len(told()) == 2  # once
    poller.says("finished main")
    assert poller.output.count("finished main") == 1


def test_the_others_ways_to_end(watched, name, github, token, told):
    tree, poller = watched()
    (poller.folder / ".pause").touch()
    first = push(tree)
    wait_for(lambda: poller.counts(name, 1))
    second = push(tree)
    wait_for(lambda: {(second, "pending"), (first, "error")} <= set(told()))
    assert main(["cancel", "--config", str(poller.config), latest(poller, name)]) == 0
    wait_for(lambda: (second, "error") in told())
    words = {s["sha"]: s["description"] for s in github.statuses}
    assert words[first].startswith(f"superseded: by {second[:7]}")
    assert words[second].startswith("cancelled: before it ran")


def latest(poller, name):
    return builds_in(poller.folder / name)[-1].id


def test_a_description_fits_github(watched, name, github, token):
    tree, poller = watched()
    (poller.folder / ".pause").touch()
    push(tree)
    wait_for(lambda: poller.counts(name, 1))
    [build] = builds_in(poller.folder / name)
    build.close("failure", "no\n" * 100 + "ü" * 200)
    (poller.folder / ".wake").touch()
    wait_for(lambda: github.statuses and github.statuses[-1]["state"] == "failure")
    words = github.statuses[-1]["description"]
    assert len(words) == 140 and "\n" not in words and words.endswith("…")


def test_two_entries_of_one_repository_have_a_status_each(
    make_repo, configure, here, name, github, token, told
):
    tree = make_repo()
    entries = {name: {}, "other/folder": {"repository": name}}
    poller = here(configure(repositories=entries))
    for entry in entries:
        poller.says(f"{entry}: noted main")
    push(tree)
    wait_for(lambda: [s for _, s in told()].count("success") == 2)
    contexts = {s["context"] for s in github.statuses}
    own = "ci/docker-build-server"
    assert contexts == {own, f"{own} (other/folder)"}


def test_a_renamed_repository_gets_its_status(watched, name, github, token, told):
    tree, _poller = watched()
    github.rename(name, f"{name}-new")
    commit = push(tree)
    wait_for(lambda: (commit, "success") in told())


def test_a_skipped_build_says_why(watched, name, github, token, told):
    tree, poller = watched()
    (poller.folder / ".pause").touch()
    commit = push(tree)
    wait_for(lambda: poller.counts(name, 1))
    [build] = builds_in(poller.folder / name)
    build.close("skipped", "")
    (poller.folder / ".wake").touch()
    wait_for(lambda: (commit, "success") in told())
    words = "skipped: the head commit says [skip ci]"
    assert github.statuses[-1]["description"] == words
    lines = (poller.folder / "journal.jsonl").read_text().splitlines()
    assert words in [json.loads(line)["why"] for line in lines]


def test_an_end_that_comes_while_pending_is_posted(watched, name, github, token, told):
    """It is closed all the same, and at once; and the journal has it once."""
    tree, poller = watched()
    posting, held = threading.Event(), threading.Event()

    def hold():
        posting.set()
        held.wait(30)

    github.fault(POST, call=hold)
    Stub.gate.clear()
    commit = push(tree)
    assert posting.wait(30)
    wait_for(lambda: Stub.running)
    Stub.gate.set()
    wait_for(lambda: poller.states(name) == ["success"])
    poller.says("finished main")
    held.set()
    begin = time.monotonic()
    wait_for(lambda: told() == [(commit, "pending"), (commit, "success")])
    assert time.monotonic() - begin < statuses.RETRY
    poller.settled(name)
    assert len(told()) == 2
    assert poller.output.count("finished main") == 1


def test_the_last_status_is_there_when_the_poller_has_ended(
    watched, name, github, token, told
):
    tree, poller = watched()
    poller.stop()
    commit = push(tree)
    github.fault(POST, times=-1, delay=1)
    poller.start(once=True)
    poller.join()
    assert told()[-1] == (commit, "success")
