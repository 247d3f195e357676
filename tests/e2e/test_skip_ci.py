"""What [skip ci] skips, and that no push before it goes with it."""

import json
from functools import partial

import pytest

from tests.e2e.conftest import Stub
from tests.support.parts import application, results, wait_for
from wrapper.__main__ import main
from wrapper.builds import skips
from wrapper.builds.directory import builds_in
from wrapper.builds.process import Failed

MAIN = "refs/heads/main"
MARKED = "chore: y [skip ci]"
SWEEP = {"interval": 0.1, "sweep": 0.3}


@pytest.fixture(autouse=True)
def marks(reset_stub):
    Stub.marks = True


def ends(poller, name, ref=MAIN):
    """What became of each commit of a branch, by its builds, in their order."""
    found: dict[str, list[str]] = {}
    for build in builds_in(poller.folder / name):
        if build.ref == ref:
            found.setdefault(build.commit, []).append(build.state())
    return found


def become(poller, name, expected, ref=MAIN):
    """In the end, and nothing more is staged."""
    wait_for(lambda: ends(poller, name, ref) == expected, what=poller.output)
    poller.settled(name)
    assert ends(poller, name, ref) == expected, poller.output


def push(tree, message="feat: x"):
    tree.commit(message=message)
    return tree.push()


@pytest.mark.parametrize("superseded", ["skip", "build"])
def test_in_one_page_of_events(watched, name, github, superseded):
    tree, poller = watched(superseded=superseded)
    github.hold(name)
    first, marked = push(tree), push(tree, MARKED)
    github.release(name)
    become(poller, name, {marked: ["skipped"], first: ["success"]})


def test_behind_a_build_that_runs(watched, name):
    tree, poller = watched()
    Stub.gate.clear()
    running = push(tree)
    wait_for(lambda: Stub.running)
    first = push(tree)
    wait_for(lambda: poller.counts(name, 2))
    marked = push(tree, MARKED)
    expected = {running: ["queued"], first: ["queued"], marked: ["skipped"]}
    become(poller, name, expected)  # at once
    poller.says("finished main at " + marked[:7] + ": skipped: the head commit says")
    Stub.gate.set()
    become(
        poller,
        name,
        {running: ["success"], first: ["success"], marked: ["skipped"]},
    )


@pytest.mark.parametrize("superseded", ["skip", "build"])
def test_a_sweep_that_sees_the_last_alone(watched, name, github, superseded):
    tree, poller = watched(poll=SWEEP, superseded=superseded)
    poller.stop()
    github.hold(name)
    first, marked = push(tree), push(tree, MARKED)
    poller.start()
    become(poller, name, {marked: ["skipped"], first: ["success"]})
    github.release(name)  # and then the events come after all
    become(poller, name, {marked: ["skipped"], first: ["success"]})
    lines = (poller.folder / "journal.jsonl").read_text().splitlines()
    [line] = [x for x in map(json.loads, lines) if "has no such mark" in x["why"]]
    assert (line["what"], line["commit"]) == ("staged", first)


def test_what_trigger_asked_for(watched, name):
    tree, poller = watched()
    (poller.folder / ".pause").touch()
    first = tree.head
    assert main(["trigger", "--config", str(poller.config), name, "main"]) == 0
    marked = push(tree, MARKED)
    become(poller, name, {first: ["queued"], marked: ["skipped"]})
    (poller.folder / ".pause").unlink()
    become(poller, name, {first: ["success"], marked: ["skipped"]})


def test_the_event_of_the_first_comes_late(watched, name, github):
    tree, poller = watched()
    github.hold(name)
    first, marked = push(tree), push(tree, MARKED)
    feed = github.repository(name)
    late = [e for e in feed.held if e["payload"]["head"] == first]
    feed.held = [e for e in feed.held if e not in late]
    github.release(name)
    become(poller, name, {marked: ["skipped"], first: ["success"]})
    github.inject(name, late[0])
    become(poller, name, {marked: ["skipped"], first: ["success"]})


@pytest.mark.parametrize("commits", [1, 2])
def test_one_push_whose_head_says_so_stays_skipped(watched, name, commits):
    tree, poller = watched()
    for _ in range(commits - 1):
        tree.commit(message="feat: in the same push")
    marked = push(tree, MARKED)
    become(poller, name, {marked: ["skipped"]})


def test_one_commit_that_a_sweep_finds_stays_skipped(watched, name, github):
    tree, poller = watched(poll=SWEEP, branches=["*"])
    github.hold(name)
    marked = push(tree, MARKED)
    become(poller, name, {marked: ["skipped"]})
    tree.push("HEAD:refs/heads/topic")  # a new branch brings nothing that is new
    become(poller, name, {marked: ["skipped"]}, "refs/heads/topic")


def test_only_the_newest_without_the_mark_is_built(watched, name, github):
    tree, poller = watched(poll=SWEEP)
    poller.stop()
    github.hold(name)
    push(tree)
    newest = push(tree)
    push(tree, "docs: z\n\nskip-checks: true")
    marked = push(tree, MARKED)
    poller.start()
    become(poller, name, {marked: ["skipped"], newest: ["success"]})


def test_a_later_push_without_the_mark_supersedes_both(watched, name):
    tree, poller = watched()
    (poller.folder / ".pause").touch()
    first = push(tree)
    wait_for(lambda: poller.counts(name, 1))
    marked = push(tree, MARKED)
    become(poller, name, {first: ["queued"], marked: ["skipped"]})
    last = push(tree)
    wait_for(lambda: ends(poller, name)[first] == ["superseded"])
    (poller.folder / ".pause").unlink()
    become(
        poller, name, {first: ["superseded"], marked: ["skipped"], last: ["success"]}
    )


def test_where_it_cannot_be_told_nothing_is_superseded(watched, name, monkeypatch):
    def ask(build):
        raise Failed(75, "the remote does not answer")

    monkeypatch.setattr(skips, "_ask_script", ask)
    Stub.marks = False
    tree, poller = watched()
    (poller.folder / ".pause").touch()
    heads = []
    for count in 1, 2:
        heads.append(push(tree))
        wait_for(partial(poller.counts, name, count))
    poller.says("to be skipped? the remote does not answer")
    (poller.folder / ".pause").unlink()
    become(poller, name, {head: ["success"] for head in heads})


def test_a_poller_that_dies_before_it_has_staged_the_rest(watched, name, github):
    tree, poller = watched(poll=SWEEP)
    (poller.folder / ".pause").touch()
    github.hold(name)
    poller.stop()
    first, marked = push(tree), push(tree, MARKED)
    poller.start()
    wait_for(lambda: poller.counts(name, 1))
    poller.stop()
    [build] = builds_in(poller.folder / name)
    assert build.close("skipped", "")  # as pipeline.sh leaves it
    (poller.folder / ".pause").unlink()
    poller.start()
    become(poller, name, {marked: ["skipped"], first: ["success"]})
    poller.stop()
    poller.start()
    become(poller, name, {marked: ["skipped"], first: ["success"]})


def test_a_release_whose_commit_says_so_moves_the_branch_s_tag_too(
    make_repo, configure, run_poller, builds, name, base_image, registry
):
    """As semantic-release does it: the bump is tagged, and not to be built."""
    tree = make_repo(application(base_image, "1.0.0"))
    config = configure(name)
    first = run_poller(config, "--once")
    assert first.process.wait(60) == 0, first.output
    feature = push(tree, "feat: something new")
    package = (tree.folder / "package.json").read_text().replace("1.0.0", "1.1.0")
    tree.commit({"package.json": package}, "chore(release): 1.1.0 [skip ci]")
    tree.git("tag", "v1.1.0")
    tree.push("main", "v1.1.0")
    again = run_poller(config, "--once")
    assert again.process.wait(180) == 0, again.output
    found = {r["status"]: r for r in results(builds, name)}
    assert found.keys() == {"success", "skipped"}, again.output
    assert {"1.1.0", "1.1", "1", "latest", "main"} <= registry.tags(name)
    labels = registry.config(name, "main")["config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == feature
    released = registry.config(name, "latest")["config"]["Labels"]
    assert released["org.opencontainers.image.revision"] == tree.head
