"""The stand-in must err as GitHub does: else the tests on it prove nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.support.feed import new_id
from tests.support.github import GitHub

IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Tester"), ("EMAIL", "tester@example.com"))
}
QUIET = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}


@pytest.fixture
def hub(tmp_path):
    with GitHub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def git(tmp_path):
    """Runs git in a work tree that has one commit."""

    def git(*args, check=True):
        return subprocess.run(
            ["git", "-C", tmp_path / "tree", *args],
            env=os.environ | IDENTITY | QUIET,
            check=check,
            capture_output=True,
            text=True,
        )

    (tmp_path / "tree").mkdir()
    git("init", "-q", "-b", "main")
    git("commit", "-q", "--allow-empty", "-m", "one")
    return git


def head(git):
    return git("rev-parse", "HEAD").stdout.strip()


def events(hub, name="o/n", **params):
    return requests.get(f"{hub.url}/repos/{name}/events", params=params, timeout=5)


def kinds(hub):
    """Types in the feed, and full refs, of what pushes did to o/n; sorted."""
    return sorted(
        (event["type"], event["payload"].get("full_ref") or event["payload"]["ref"])
        for event in hub.repository("o/n").events
        if event["payload"].get("ref")
    )


def test_a_push_makes_the_events_that_github_makes(hub, git):
    url = hub.create("o/n")
    git("push", url, "main", "main:feature/x")
    before = head(git)
    git("commit", "--allow-empty", "-m", "two")
    git("tag", "v1.0.0")
    git("push", url, "main", "v1.0.0", ":feature/x")
    assert kinds(hub) == [
        ("CreateEvent", "refs/heads/feature/x"),
        ("CreateEvent", "refs/heads/main"),
        ("CreateEvent", "refs/tags/v1.0.0"),
        ("DeleteEvent", "refs/heads/feature/x"),
        ("PushEvent", "refs/heads/main"),
    ]
    feed = events(hub).json()
    payload = next(e["payload"] for e in feed if e["type"] == "PushEvent")
    assert (payload["before"], payload["head"]) == (before, head(git))
    assert set(payload) == {"repository_id", "push_id", "ref", "head", "before"}
    created = next(e["payload"] for e in feed if e["payload"]["ref"] == "feature/x")
    assert head(git) not in json.dumps(created)


def test_moved_tags_and_many_tags_make_no_event(hub, git):
    url = hub.create("o/n")
    git("tag", "v1")
    git("push", url, "v1")
    git("commit", "--allow-empty", "-m", "two")
    git("tag", "-f", "v1")
    git("push", "-f", url, "v1")
    for number in range(4):
        git("tag", f"many{number}")
    git("push", url, "--tags")
    assert kinds(hub) == [("CreateEvent", "refs/tags/v1")]


def test_an_enterprise_server_lists_commits(hub, git):
    url = hub.create("o/n")
    hub.enterprise = True
    git("push", url, "main")
    git("commit", "--allow-empty", "-m", "two")
    git("push", url, "main")
    payload = next(
        e["payload"] for e in hub.repository("o/n").events if e["type"] == "PushEvent"
    )
    assert payload["size"] == 1
    assert payload["commits"][0]["sha"] == head(git)


def test_ids_come_in_two_sequences_and_out_of_order(hub):
    hub.create("o/n")
    for _ in range(30):
        hub.repository("o/n").moved("refs/heads/main", "a" * 40, "b" * 40)
    hub.noise("o/n", 30)
    ids = [int(e["id"]) for e in events(hub, per_page=100).json()]
    assert len(set(ids)) == 61
    assert {number // 10**9 for number in ids} == {16, 10}

    sequence = [int(new_id("push")) for _ in range(30)]
    assert sequence != sorted(sequence)


def test_pages_are_linked_by_id_and_end_with_422(hub):
    hub.create("o/n")
    hub.noise("o/n", 400)
    answer, count = events(hub, per_page=100), 0
    assert answer.links["last"]["url"].endswith("page=3")
    while True:
        count += len(answer.json())
        if "next" not in answer.links:
            break
        assert "/repositories/1000000/events" in answer.links["next"]["url"]
        answer = requests.get(answer.links["next"]["url"], timeout=5)
    assert count == 300
    assert events(hub, per_page=100, page=4).status_code == 422
    assert len(events(hub, per_page=1000).json()) == 100


def test_an_etag_holds_until_something_happens(hub):
    hub.create("o/n")
    hub.poll_interval = 7
    url = f"{hub.url}/repos/o/n/events"
    first = requests.get(url, timeout=5)
    assert first.headers["ETag"].startswith('W/"')
    same = {"If-None-Match": first.headers["ETag"]}
    assert first.headers["X-Poll-Interval"] == "7"
    assert requests.get(url, headers=same, timeout=5).status_code == 304
    token = {"Authorization": "Bearer t"}
    assert requests.get(url, headers=same | token, timeout=5).status_code == 200
    hub.quiet_304 = True
    assert "X-Poll-Interval" not in requests.get(url, headers=same, timeout=5).headers
    hub.noise("o/n", 1)
    assert requests.get(url, headers=same, timeout=5).status_code == 200
    hub.freeze("o/n")
    assert requests.get(url, headers=same, timeout=5).status_code == 304


def test_held_events_come_late(hub):
    hub.create("o/n")
    hub.hold("o/n")
    hub.noise("o/n", 2)
    assert len(events(hub).json()) == 1
    hub.release("o/n")
    assert len(events(hub).json()) == 3


def test_the_rate_limit_counts_all_but_a_304_with_a_token(hub):
    hub.create("o/n")
    hub.limit = 2
    url, token = f"{hub.url}/repos/o/n/events", {"Authorization": "Bearer t"}
    tag = requests.get(url, headers=token, timeout=5).headers["ETag"]
    for _ in range(3):
        answer = requests.get(url, headers=token | {"If-None-Match": tag}, timeout=5)
        assert answer.headers["X-RateLimit-Remaining"] == "1"
    requests.get(url, headers=token, timeout=5)
    assert requests.get(url, headers=token, timeout=5).status_code == 403
    assert events(hub).status_code == 200  # each token has its own


def test_a_private_repository_needs_the_token(hub, git):
    hub.token = "right"
    git("push", hub.create("o/n", private=True), "main")
    plain = f"{hub.url}/o/n.git"
    assert git("ls-remote", plain, check=False).returncode
    assert events(hub).status_code == 404
    wrong = {"Authorization": "Bearer wrong"}
    url = f"{hub.url}/repos/o/n/events"
    assert requests.get(url, headers=wrong, timeout=5).status_code == 401
    right = {"Authorization": "Bearer right"}
    assert requests.get(url, headers=right, timeout=5).status_code == 200
    assert git("ls-remote", plain.replace("//", "//x:right@")).stdout


def test_a_renamed_repository_redirects(hub, git):
    url = hub.create("o/n")
    git("push", url, "main")
    hub.rename("o/n", "o/new")
    listed = git("ls-remote", url)
    assert head(git) in listed.stdout
    assert f"redirecting to {hub.url}/o/new.git/" in listed.stderr
    answer = requests.get(
        f"{hub.url}/repos/o/n/events?page=1", allow_redirects=False, timeout=5
    )
    location = f"{hub.url}/repositories/1000000/events?page=1"
    assert (answer.status_code, answer.headers["Location"]) == (301, location)
    assert events(hub).status_code == events(hub, "O/New").status_code == 200


def test_statuses_are_recorded_and_checked(hub):
    hub.create("o/n")
    url = f"{hub.url}/repos/o/n/statuses/{'a' * 40}"
    good = {"state": "pending", "context": "ci", "description": "x" * 140}
    assert requests.post(url, json=good, timeout=5).status_code == 201
    long = good | {"description": "x" * 141}
    assert requests.post(url, json=long, timeout=5).status_code == 422
    hub.token = "right"
    assert requests.post(url, json=good, timeout=5).status_code == 401
    assert hub.statuses == [{"repository": "o/n", "sha": "a" * 40} | good]


def test_faults_are_queued_for_what_they_match(hub):
    hub.create("o/n")
    hub.fault(
        "/events", status=502, body="<html>", headers={"Content-Type": "text/html"}
    )
    hub.fault("/events", reset=True)
    hub.fault("/events", cut=10)
    hub.fault("/events", delay=0.3)
    hub.fault("/events", call=lambda: hub.noise("o/n", 1))
    assert requests.get(f"{hub.url}/repos/o/n", timeout=5).status_code == 200
    answer = events(hub)
    assert (answer.status_code, answer.text) == (502, "<html>")
    with pytest.raises(requests.exceptions.ConnectionError):
        events(hub)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        events(hub)
    assert events(hub).elapsed.total_seconds() >= 0.3
    assert len(events(hub).json()) == 2
    assert hub.requests[0].path == "/repos/o/n"


def test_a_clone_can_be_cut_off(hub, git, tmp_path):
    url = hub.create("o/n")
    git("push", url, "main")
    hub.fault("git-upload-pack$", cut=60)
    assert git("clone", url, tmp_path / "clone", check=False).returncode
    git("clone", url, tmp_path / "clone")


def test_as_a_process_it_is_told_what_to_do(git, tmp_path):
    command = [sys.executable, "-m", "tests.support.github", "--root", tmp_path / "hub"]
    checkout = Path(__file__).parent.parent.parent
    with subprocess.Popen(
        command, cwd=checkout, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            control = f"{process.stdout.readline().strip()}/_control"
            asked = {"call": "create", "args": ["o/n"]}
            git("push", requests.post(control, json=asked, timeout=5).text, "main")
            seen = requests.get(control, timeout=5).json()["requests"]
        finally:
            process.terminate()
    assert "POST /o/n.git/git-receive-pack" in seen
    assert process.returncode == 0
