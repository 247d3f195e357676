"""GitHub's troubles: each is said once, waited out, and loses nothing."""

import os
import time
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from tests.support.parts import wait_for
from wrapper import poller as poller_module
from wrapper.builds.directory import read_json
from wrapper.github import errors as trouble
from wrapper.github import feed
from wrapper.pushes import backoff, repository, stager

MAIN = "refs/heads/main"
SPENT = {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0"}
SECONDARY = {"message": "You have exceeded a secondary rate limit. Please wait."}
BLOCKED = {"message": "Repository access blocked", "block": {"reason": "dmca"}}
PAGE = '<!DOCTYPE html><html><body class="error">Unicorn!</body></html>'
HTML = {"Content-Type": "text/html; charset=utf-8"}

TABLE: dict[str, tuple[dict[str, Any], str]] = {
    "500": ({"status": 500}, "GitHub answers 500"),
    "502": ({"status": 502, "body": PAGE, "headers": HTML}, "GitHub answers 502"),
    "reset": ({"reset": True}, "cannot reach http"),
    "cut off": ({"cut": 40}, "cannot reach http"),
    "half of the JSON": ({"status": 200, "body": '[{"id": "1", '}, "not JSON"),
    "HTML": ({"status": 200, "body": PAGE, "headers": HTML}, "text/html"),
    "empty": ({"status": 200, "body": ""}, "not JSON"),
    "deep": ({"status": 200, "body": "[" * 99999}, "not JSON"),
    "an object": ({"status": 200, "body": {"message": "hm"}}, "no list of events"),
    "429": ({"status": 429, "headers": {"Retry-After": "1"}}, "used up (429)"),
    "429 and no more": ({"status": 429}, "used up (429)"),
    "403, primary": ({"status": 403, "headers": SPENT}, "used up (403)"),
    "403, secondary": ({"status": 403, "body": SECONDARY}, "used up (403)"),
    "403, forbidden": (
        {"status": 403, "body": {"message": "Resource not accessible"}},
        "may the token read this repository?): 403, Resource not accessible",
    ),
    "404": ({"status": 404, "body": {"message": "Not Found"}}, "(check its name): 404"),
    "401": (
        {"status": 401, "body": {"message": "Bad credentials"}},
        "refuses the token (renew GITHUB_TOKEN_FILE or GITHUB_TOKEN)",
    ),
    "400": ({"status": 400}, "does not know this version of its API"),
    "410": ({"status": 410}, "has retired this version of its API"),
    "422": ({"status": 422}, "GitHub answers 422"),
    "451": ({"status": 451, "body": BLOCKED}, "legal reasons: 451"),
    "a loop": (
        {"status": 301, "headers": {"Location": "/events"}},
        "Exceeded 3 redirects",
    ),
}
SLOW = "400", "401", "403, forbidden", "404", "410", "451"  # for a person to see to


def gaps(requests):
    return [b.time - a.time for a, b in pairwise(requests)]


def at_most_four_a_second(requests):
    times = [r.time for r in requests]
    return all(b - a > 1 for a, b in zip(times, times[4:], strict=False))


@pytest.mark.parametrize("case", TABLE)
def test_a_trouble(watched, name, github, case, monkeypatch):
    monkeypatch.setattr(trouble, "PAUSE", 1.0)
    monkeypatch.setattr(backoff, "LONGEST", 6)
    fault, words = TABLE[case]
    interval = 1.5 if case == "a loop" else 0.26
    times = {"a loop": 4}.get(case, 1 if case in SLOW else 2)
    tree, poller = watched(poll={"interval": interval, "sweep": 3600})
    if "X-RateLimit-Remaining" in fault.get("headers", {}):
        fault["headers"] |= {"X-RateLimit-Reset": str(int(time.time()) + 1)}
    start = len(github.requests)
    github.fault("/events", times=times, **fault)
    tree.commit()
    tree.push()
    poller.says("answers again")
    wait_for(lambda: poller.builds(name) == [(MAIN, tree.head)])
    assert poller.output.count(words) == 1, poller.output  # said once
    assert "Traceback" not in poller.output and "internal error" not in poller.output
    asked = [r for r in github.requests[start:] if "/events" in r.path]
    assert at_most_four_a_second(asked)
    if "used up" in words:
        assert min(gaps(asked)[:2]) > 0.9
    if case in SLOW:
        assert gaps(asked)[0] > interval * 6 * 0.8 - 0.1


def test_the_end_of_the_feed(watched, name, github, monkeypatch):
    """A page behind the last one answers 422, and that is no trouble."""
    monkeypatch.setattr(feed, "APART", 0.0)
    tree, poller = watched()
    github.hold(name)
    tree.commit()
    tree.push()
    github.noise(name, 100)
    github.release(name)
    github.fault("page=2", status=422, times=-1)
    poller.has(name, (MAIN, tree.head))
    assert "422" not in poller.output


def test_a_later_page_in_trouble_loses_nothing(watched, name, github):
    tree, poller = watched()
    github.hold(name)
    tree.commit()
    tree.push()
    github.noise(name, 150)
    github.fault("page=2", status=500, times=2)
    github.release(name)
    poller.has(name, (MAIN, tree.head))
    assert at_most_four_a_second([r for r in github.requests if "page=2" in r.path])


def test_an_api_that_is_not_there(make_repo, configure, here, name, monkeypatch):
    tree = make_repo()
    poll = {"interval": 0.1, "sweep": 0.5}
    config = configure(name, poll=poll)
    poller = here(config)
    poller.says("noted main")
    poller.stop()
    monkeypatch.setenv("GITHUB_API_URL", "http://api.no-such-name.invalid")
    poller.start()
    poller.says("cannot reach http://api.no-such-name.invalid: its name does not")
    tree.commit()
    tree.push()
    wait_for(lambda: poller.builds(name) == [(MAIN, tree.head)])  # by the sweep
    assert poller.output.count("no-such-name") == 1


def test_git_in_trouble_loses_nothing(watched, name, github):
    tree, poller = watched()
    github.fault(r"info/refs\?service=git-upload-pack", times=2, status=500)
    tree.commit()
    tree.push()
    poller.has(name, (MAIN, tree.head))
    assert poller.output.count("git cannot read it") == 1
    poller.says("answers again")


def test_one_repository_in_trouble_holds_up_no_other(
    make_repo, configure, here, name, github
):
    good, bad = f"{name}-good", f"{name}-bad"
    tree = make_repo(name=good)
    poller = here(configure(good, bad))
    poller.says(f"{bad}: GitHub knows no such repository")
    poller.says(f"{good}: noted main")
    tree.commit()
    tree.push()
    poller.has(good, (MAIN, tree.head))


def test_it_is_noted_when_it_comes_to_be(make_repo, configure, here, name):
    poller = here(configure(name))
    poller.says("GitHub knows no such repository")
    tree = make_repo()
    poller.says("seen for the first time")
    poller.says("answers again")
    poller.settled(name)
    tree.commit()
    tree.push()
    wait_for(lambda: (MAIN, tree.head) in poller.builds(name))


def test_x_poll_interval_is_kept(watched, name, github):
    github.poll_interval = 1
    _, poller = watched()
    polls = poller.polls(name)
    assert len(polls) > 3 and min(gaps(polls)) > 0.95


def test_a_304_without_interval_has_the_age_of_its_cache(watched, name, github):
    github.poll_interval, github.quiet_304 = 1, True
    _, poller = watched()
    assert min(gaps(poller.polls(name))) > 0.95


def test_the_polls_stretch_to_what_the_quota_leaves(watched, name, github):
    _, poller = watched()
    used = len(poller.polls(name))
    github.limit, github.reset_at = used + 10, time.time() + 6
    wait_for(lambda: "rate limit leaves each repository a poll every" in poller.output)
    wait_for(lambda: time.time() > github.reset_at - 0.5)
    assert "used up" not in poller.output
    assert 5 < len(poller.polls(name)) - used <= 11


def test_a_private_repository_takes_the_token_in_the_file(
    make_repo, configure, here, name, github, tmp_path, monkeypatch
):
    secret = tmp_path / "token"
    secret.write_text("ghp_first\n")
    monkeypatch.setenv("GITHUB_TOKEN_FILE", str(secret))
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    github.token = "ghp_first"
    tree = make_repo(private=True)
    poller = here(configure(name))
    poller.says("noted main")
    github.token = "ghp_second"
    poller.says("poller: GitHub refuses the token")
    secret.write_text("ghp_second\n")
    tree.git("remote", "set-url", "origin", tree.url.replace("first", "second"))
    tree.commit()
    tree.push()
    start = time.monotonic()
    poller.has(name, (MAIN, tree.head))
    assert time.monotonic() - start < 5  # a new token is tried at once
    state = (poller.folder / name / "state.json").read_text()
    for text in poller.output, state, *map(str, os.environ.values()):
        assert "ghp_" not in text
    builds = [p.read_text() for p in poller.folder.rglob("*.json")]
    assert builds and not any("ghp_" in text for text in builds)


def test_a_damaged_state_is_said_and_begun_anew(watched, name):
    tree, poller = watched(poll={"interval": 0.1, "sweep": 0.2})
    poller.stop()
    path = poller.folder / name / "state.json"
    for content in "", "{", "[]", '{"format": 1}', '{"refs": 3, "seen": 7}':
        path.write_text(content)
        poller.start()
        poller.says("state.json cannot be read; it starts anew")
        wait_for(lambda: isinstance((read_json(path) or {}).get("refs"), dict))
        poller.stop()
        poller.said = ""
    poller.start()
    first = tree.commit()
    tree.push()
    poller.has(name, (MAIN, first))


def test_a_damaged_state_loses_no_push(watched, name):
    """What builds there are tells what was handled."""
    tree, poller = watched(poll={"interval": 0.1, "sweep": 0.2}, branches=["*"])
    tree.push("main:refs/heads/old")  # its build is there, and it does not move
    first = tree.commit()
    tree.push()
    wait_for(lambda: len(poller.builds(name)) == 2)
    poller.stop()
    before = poller.builds(name)
    second = tree.commit()
    tree.push()
    for content in "{", '{"format": 1}', "":
        (poller.folder / name / "state.json").write_text(content)
        poller.said = ""
        poller.start()
        poller.says("state.json cannot be read; what was built is known")
        poller.has(name, *before, (MAIN, second))
        poller.stop()
    assert first != second
    poller.start()
    third = tree.commit()
    tree.push()
    poller.has(name, *before, (MAIN, second), (MAIN, third))


def test_a_new_token_is_tried_at_once(
    make_repo, configure, here, name, github, tmp_path, monkeypatch
):
    """An operator's mistake is asked about seldom; when it is mended, that is over."""
    secret = tmp_path / "token"
    secret.write_text("ghp_wrong\n")
    monkeypatch.setenv("GITHUB_TOKEN_FILE", str(secret))
    github.token = "ghp_right"
    make_repo()
    poller = here(configure(name, poll={"interval": 4, "sweep": 3600}))
    poller.says("poller: GitHub refuses the token")
    wait_for(lambda: len(poller.polls(name)) == 1)
    begin = time.monotonic()
    secret.write_text("ghp_right\n")
    wait_for(lambda: len(poller.polls(name)) > 1)
    assert time.monotonic() - begin < 12  # of 60


def test_what_nobody_has_foreseen_ends_no_thread(
    watched, name, monkeypatch, make_repo, configure
):
    """With one thread for each kind of visit, one that ended would be missed."""
    monkeypatch.setattr(poller_module, "SIDE_BY_SIDE", {False: 1, True: 1})
    tree, poller = watched(poll={"interval": 0.1, "sweep": 0.2})
    heads, odd = stager.heads, ["odd"]

    def sometimes(*args):
        if odd:
            raise RuntimeError(odd.pop())
        return heads(*args)

    monkeypatch.setattr(repository, "heads", sometimes)
    poller.says("internal error: RuntimeError('odd') (sometimes, line")
    monkeypatch.setattr(repository, "news", lambda *_: 1 / 0)
    tree.commit()
    tree.push()
    wait_for(lambda: (MAIN, tree.head) in poller.builds(name))
    poller.says("internal error: ZeroDivisionError")
    monkeypatch.setattr(repository, "news", feed.news)
    poller.settled(name)
    wait_for(lambda: poller.output.count("answers again") >= 2)


def test_a_push_is_not_lost_to_trouble_of_the_disk(watched, name):
    """stage.sh ends with 75, again and again; then it does not."""
    tree, poller = watched()
    blocked = poller.folder / name / ".lock"
    blocked.unlink(missing_ok=True)
    blocked.mkdir()
    tree.commit()
    tree.push()
    poller.says("cannot write")
    asked = len(poller.github.requests)
    wait_for(lambda: len(poller.github.requests) > asked + 5)
    assert poller.builds(name) == []
    blocked.rmdir()
    wait_for(lambda: poller.builds(name) == [(MAIN, tree.head)])


def test_there_and_back_between_two_looks_is_no_build(watched, name, github):
    tree, poller = watched()
    old = tree.head
    github.hold(name)
    gone = tree.commit()
    tree.push()
    tree.git("reset", "-q", "--hard", old)
    tree.push()
    github.release(name)
    poller.says(f"superseded main at {gone[:7]}")
    poller.has(name)


def done(poller, name):
    return poller.states(name) == ["success"]


def test_a_builds_folder_that_is_changed_counts_at_the_next_start(
    make_repo, configure, here, name, tmp_path
):
    """Also for repositories that come later."""
    new = f"{name}-new"
    first, later = make_repo(), make_repo(name=new)
    poller = here(configure(name))
    poller.says("noted main")
    configure(name, builds="elsewhere")
    poller.says("until the next start")
    configure(name, new, builds="elsewhere")
    poller.says(f"{new}: noted main")
    poller.settled(new)
    for tree in first, later:
        tree.commit()
        tree.push()
        wait_for(partial(done, poller, tree.name))
    assert not (tmp_path / "elsewhere").exists()
