"""Every head that must be built is built exactly once, and nothing else is."""

import json

import pytest

from tests.support.feed import WINDOW
from tests.support.parts import Tree, wait_for
from wrapper.pushes import repository

MAIN = "refs/heads/main"
SWEEP = {"interval": 0.1, "sweep": 0.3}


def state(poller, name):
    return json.loads((poller.folder / name / "state.json").read_text())


def journal(poller, what):
    lines = (poller.folder / "journal.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["what"] == what]


def test_what_is_there_at_first_is_noted_and_not_built(watched, name):
    tree, poller = watched()
    tree.git("tag", "v1.0.0")
    poller.stop()
    poller.start()
    poller.has(name)
    [noted] = journal(poller, "noted")
    assert (noted["ref"], noted["commit"]) == (MAIN, tree.head)
    assert f"docker-build-server trigger {name} main" in noted["why"]


def test_a_push_is_staged_with_its_event(watched, name):
    tree, poller = watched()
    before = tree.head
    tree.commit()
    tree.push()
    poller.has(name, (MAIN, tree.head))
    [build] = (poller.folder / name).glob("*Z-*/build.json")
    info = json.loads(build.read_text())
    assert (info["source"], info["before"]) == ("event", before)
    event = poller.github.repository(name).events[0]
    assert info["event"] == event["id"] or info["event"] in state(poller, name)["seen"]


def test_the_first_push_of_a_branch_and_of_a_tag(watched, name):
    tree, poller = watched(branches=["*"])
    head = tree.commit()
    tree.git("tag", "-a", "-m", "one", "v1.0.0")
    tree.push("HEAD:refs/heads/new/branch", "v1.0.0")
    poller.has(name, ("refs/heads/new/branch", head), ("refs/tags/v1.0.0", head))
    for build in (poller.folder / name).glob("*Z-*/build.json"):
        assert json.loads(build.read_text())["source"] == "event"


def test_the_first_push_to_an_empty_repository(github, configure, here, tmp_path, name):
    tree = Tree(tmp_path / "tree", name, github.create(name))
    poller = here(configure(name))
    poller.says("seen for the first time")
    tree.commit()
    tree.push()
    poller.has(name, (MAIN, tree.head))


@pytest.mark.parametrize("how", ["the event never comes", "the API is down"])
def test_the_sweep_finds_what_the_feed_does_not_show(watched, name, github, how):
    tree, poller = watched(poll=SWEEP, tags=["v*"])
    if how == "the API is down":
        github.fault("/events", times=-1, status=503)
    else:
        github.hold(name)
    tree.commit()
    tree.git("tag", "v1.0.0")
    tree.push("main", "v1.0.0")
    wait_for(lambda: len(poller.builds(name)) == 2)
    github.faults.clear()
    if how != "the API is down":
        github.release(name)  # and then they come after all
    poller.has(name, (MAIN, tree.head), ("refs/tags/v1.0.0", tree.head))


def test_pushes_during_downtime(watched, name):
    tree, poller = watched()
    poller.stop()
    first, second = tree.commit(), None
    tree.push()
    second = tree.commit()
    tree.push()
    poller.start()
    poller.has(name, (MAIN, second))
    [line] = journal(poller, "superseded")
    assert line["commit"] == first and second[:7] in line["why"]


def test_every_push_during_downtime_where_all_are_wanted(watched, name):
    tree, poller = watched(superseded="build")
    poller.stop()
    heads = []
    for _ in range(3):
        heads.append(tree.commit())
        tree.push()
    poller.start()
    poller.has(name, *((MAIN, head) for head in heads))


def test_a_window_that_rolled_over(watched, name, github):
    tree, poller = watched()
    github.hold(name)
    tree.commit()
    tree.push()
    github.noise(name, WINDOW)
    github.release(name)
    poller.has(name, (MAIN, tree.head))


def test_stars_alone_bring_no_question_to_git(watched, name, github):
    _, poller = watched()
    asked = len([r for r in github.requests if ".git/" in r.path])
    github.noise(name, 3)
    poller.settled(name)
    assert len([r for r in github.requests if ".git/" in r.path]) == asked
    assert len(state(poller, name)["seen"]) == 2 + 3


def test_a_push_on_the_second_page(watched, name, github):
    tree, poller = watched()
    github.hold(name)
    tree.commit()
    tree.push()
    github.noise(name, 150)
    github.release(name)
    poller.has(name, (MAIN, tree.head))


@pytest.mark.parametrize("superseded", ["skip", "build"])
def test_a_push_that_the_events_tell_of_too_late_is_told_of(
    watched, name, github, superseded
):
    tree, poller = watched(superseded=superseded)
    poller.stop()
    github.hold(name)
    first = tree.commit()
    tree.push()
    second = tree.commit()
    tree.push()
    poller.start()
    poller.has(name, (MAIN, second))
    github.release(name)
    poller.says(f"superseded main at {first[:7]}: a newer push was handled before")
    poller.has(name, (MAIN, second))  # built now, first would move main back


def test_the_same_event_twice(watched, name, github):
    tree, poller = watched(superseded="build")
    tree.commit()
    tree.push()
    poller.has(name, (MAIN, tree.head))
    event = next(e for e in github.repository(name).events if e["type"] == "PushEvent")
    github.inject(name, event)
    github.inject(name, event | {"id": "99"})  # the same push, told once more
    poller.has(name, (MAIN, tree.head))


def test_events_in_the_wrong_order(watched, name, github):
    tree, poller = watched(superseded="build")
    github.hold(name)
    heads = []
    for _ in range(4):
        heads.append(tree.commit())
        tree.push()
    held = github.repository(name).held
    held[:] = [held[i] | {"created_at": held[0]["created_at"]} for i in (2, 0, 3, 1)]
    github.release(name)
    poller.has(name, *((MAIN, head) for head in heads))


def test_two_sequences_of_ids(watched, name, github):
    tree, poller = watched()
    for number in ("54700000000", "9", "6700000000"):
        tree.commit()
        github.hold(name)
        tree.push()
        held = github.repository(name).held
        held[:] = [e | {"id": number} for e in held]
        github.release(name)
        wait_for(lambda: (MAIN, tree.head) in poller.builds(name))
        github.noise(name, 1)
    poller.settled(name)
    assert len(poller.builds(name)) == 3


def test_a_304_that_is_stale_for_ever(watched, name, github, monkeypatch):
    monkeypatch.setattr(repository, "FULL", 0.5)
    tree, poller = watched()
    github.freeze(name)
    tree.commit()
    tree.push()
    poller.has(name, (MAIN, tree.head))


def test_nothing_changed_means_conditional_polls(watched, name):
    _, poller = watched()
    poller.settled(name)
    first, *rest = poller.polls(name)
    assert "if-none-match" not in first.headers
    assert all(r.headers.get("if-none-match") for r in rest[2:])


def test_the_etag_outlives_a_restart(watched, name):
    _, poller = watched()
    poller.stop()
    count = len(poller.polls(name))
    poller.start()
    poller.settled(name)
    assert poller.polls(name)[count].headers.get("if-none-match")


def test_a_force_push_and_a_push_back(watched, name):
    tree, poller = watched()
    old = tree.head
    first = tree.commit()
    tree.push()
    poller.has(name, (MAIN, first))
    tree.git("reset", "-q", "--hard", old)
    other = tree.commit(message="feat: another way")
    tree.push()
    poller.has(name, (MAIN, first), (MAIN, other))
    tree.git("reset", "-q", "--hard", first)
    tree.push()
    poller.has(name, (MAIN, first), (MAIN, other), (MAIN, first))


def test_a_deleted_branch_and_its_return(watched, name):
    tree, poller = watched(branches=["*"])
    ref = "refs/heads/topic"
    tree.push(f"HEAD:{ref}")
    poller.has(name, (ref, tree.head))
    tree.push(f":{ref}")
    wait_for(lambda: ref not in state(poller, name)["refs"])
    poller.has(name, (ref, tree.head))
    tree.push(f"HEAD:{ref}")
    poller.has(name, (ref, tree.head), (ref, tree.head))


def test_a_branch_made_and_deleted_between_two_looks(watched, name, github):
    tree, poller = watched(branches=["*"])
    github.hold(name)
    tree.push("HEAD:refs/heads/topic")
    tree.push(":refs/heads/topic")
    github.release(name)
    poller.has(name)
    assert not state(poller, name)["waiting"]


def test_git_that_is_late_is_asked_again(watched, name, github):
    tree, poller = watched()
    before, head = tree.head, tree.commit()
    moved = github.repository(name)
    moved.moved(MAIN, before, head)  # the event is there first
    wait_for(lambda: state(poller, name)["waiting"])
    github.hold(name)
    tree.push()
    poller.has(name, (MAIN, head))
    assert not state(poller, name)["waiting"]
    [build] = (poller.folder / name).glob("*Z-*/build.json")
    assert json.loads(build.read_text())["source"] == "event"


def test_git_is_asked_again_after_a_restart_too(watched, name, github):
    tree, poller = watched()
    before, head = tree.head, tree.commit()
    github.repository(name).moved(MAIN, before, head)
    wait_for(lambda: state(poller, name)["waiting"])
    poller.stop()
    github.hold(name)
    poller.start()
    tree.push()
    poller.has(name, (MAIN, head))


def test_an_event_that_git_never_shows(watched, name, github, monkeypatch):
    monkeypatch.setattr(repository, "LATE", 1.5)
    tree, poller = watched()
    github.repository(name).moved(MAIN, tree.head, "b" * 40)
    poller.says("git did not show it")
    poller.has(name)
    assert not state(poller, name)["waiting"]


def test_what_the_filters_leave_out_is_remembered_all_the_same(
    watched, name, configure
):
    tree, poller = watched()
    tree.git("tag", "v1.0.0")
    tree.push("HEAD:refs/heads/other", "v1.0.0")
    poller.has(name, ("refs/tags/v1.0.0", tree.head))
    skipped = tree.commit()
    tree.push("HEAD:refs/heads/other")
    poller.says(f"skipped other at {skipped[:7]}")
    poller.settled(name)
    assert [s["ref"] for s in journal(poller, "skipped")] == ["refs/heads/other"] * 2
    configure(repositories={name: {"branches": ["*"]}})
    poller.says("configuration:")
    old = poller.builds(name)
    poller.has(name, *old)  # nothing of the past
    new = tree.commit()
    tree.push("HEAD:refs/heads/other")
    poller.has(name, *old, ("refs/heads/other", new))


def test_tags_that_are_no_versions_are_passed_over_with_a_word(watched, name):
    tree, poller = watched()
    tree.git("tag", "v1.2")
    tree.push("v1.2")
    poller.says("tag v1.2 is no SemVer")
    poller.has(name)


def test_a_renamed_repository_is_followed(watched, name, github):
    tree, poller = watched()
    github.rename(name, f"{name}-new")
    tree.commit()
    tree.push()
    poller.has(name, (MAIN, tree.head))
    poller.says('set "repository"')
    assert poller.output.count('set "repository"') == 1


def test_pushes_of_an_enterprise_server(watched, name, github):
    tree, poller = watched()
    github.enterprise = True
    tree.commit()
    tree.push()
    poller.has(name, (MAIN, tree.head))


def test_bad_events_hide_no_good_one(watched, name, github):
    tree, poller = watched()
    github.hold(name)
    tree.commit()
    tree.push()
    held = github.repository(name).held
    junk = {"id": "1", "type": "PushEvent", "payload": 3}
    for bad in (None, 7, "x", [1], {"type": "PushEvent"}, junk):
        held.insert(0, bad)
        held.append(bad)
    github.release(name)
    poller.has(name, (MAIN, tree.head))
    assert poller.output.count("cannot be read") == 5  # each once, two are None to us
    assert "internal error" not in poller.output
