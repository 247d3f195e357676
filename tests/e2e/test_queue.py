"""The builds directory is the queue: what starts when, and what need not."""

import json
import os
import signal
import subprocess
import sys
from functools import partial

import pytest

from tests.e2e.conftest import Stub
from tests.support.parts import ROOT, wait_for
from wrapper.__main__ import main
from wrapper.builds import ending
from wrapper.builds.directory import builds_in
from wrapper.builds.lock import held, lock
from wrapper.builds.queue import RUNS
from wrapper.commands import status, why

MAIN = "refs/heads/main"


def pushes(tree, count=1):
    """So many pushes to main, each with a commit of its own; the commits."""
    return [(tree.commit(), tree.push())[0] for _ in range(count)]


def test_a_newer_push_supersedes_one_that_waits_but_no_tag(watched, name):
    tree, poller = watched()
    Stub.gate.clear()
    pushes(tree)
    wait_for(lambda: Stub.running)
    tree.git("tag", "v1.0.0")
    tree.push("v1.0.0")
    wait_for(lambda: len(poller.builds(name)) == 2)
    for count in 3, 4:
        [last] = pushes(tree)
        wait_for(partial(poller.counts, name, count))
    tree.git("tag", "v1.1.0")
    tree.push("v1.1.0")
    wait_for(lambda: "superseded" in poller.states(name))
    Stub.gate.set()
    wait_for(lambda: poller.states(name).count("success") == 4)
    _, _, superseded, newest, _ = builds_in(poller.folder / name)
    result = superseded.result() or {}
    assert result["status"] == "superseded"
    assert newest.commit == last
    assert f"by {last[:7]}, build {newest.id}" in result["message"]
    assert why.run(poller.folder, [superseded.commit]) == 0
    assert f"superseded: by {last[:7]}" in poller.output.split("superseded main")[1]


def test_every_push_is_built_where_that_is_wanted(watched, name):
    tree, poller = watched(superseded="build")
    Stub.gate.clear()
    heads = pushes(tree, 3)
    wait_for(lambda: len(poller.builds(name)) == 3)
    Stub.gate.set()
    wait_for(lambda: poller.states(name) == ["success"] * 3)
    assert [commit for _, commit in poller.builds(name)] == heads


def test_one_build_of_a_repository_and_so_many_in_all(make_repo, configure, here, name):
    names = [f"{name}-{i}" for i in range(4)]
    trees = [make_repo(name=n) for n in names]
    Stub.gate.clear()
    poller = here(configure(*names, concurrency=2))
    for n in names:
        poller.says(f"{n}: noted")
    for tree in trees:
        pushes(tree)
        tree.git("tag", "v1.0.0")
        tree.push("v1.0.0")
    wait_for(lambda: all(len(poller.builds(n)) == 2 for n in names))
    wait_for(lambda: len(Stub.running) == 2)
    poller.settled(names[0])  # polls go on while builds run
    assert len({id.rsplit("-")[0] for id in Stub.running}) == 2
    running = [
        n for n in names for b in builds_in(poller.folder / n) if b.id in Stub.running
    ]
    assert len(set(running)) == 2
    Stub.gate.set()
    wait_for(lambda: all(poller.states(n) == ["success"] * 2 for n in names))
    assert max(Stub.most) == 2


@pytest.mark.parametrize("place", ["builds", "repository"])
def test_while_paused_pushes_are_staged_and_nothing_starts(watched, name, place):
    tree, poller = watched()
    pause = poller.folder / ("" if place == "builds" else name) / ".pause"
    pause.touch()
    pushes(tree)
    poller.has(name, (MAIN, tree.head))
    assert poller.states(name) == ["queued"]
    poller.says(f"poller: {pause} is there: nothing starts until it is gone")
    pause.unlink()
    wait_for(lambda: poller.states(name) == ["success"])


def test_what_stands_in_the_way_is_said_once(make_repo, configure, here, name):
    names = [f"{name}-{n}" for n in range(2)]
    trees = [make_repo(name=n) for n in names]
    poller = here(configure(*names))
    for one, tree in zip(names, trees, strict=True):
        poller.says(f"{one}: noted")
        poller.settled(one)
        (poller.folder / one / ".pause").touch()
        pushes(tree)
        poller.has(one, (MAIN, tree.head))
    for one in names:
        poller.says(f"{one}/.pause is there")
    for _ in range(3):  # it is looked at again and again
        (poller.folder / ".wake").touch()
        poller.settled(names[0])
    assert [poller.output.count(f"{one}/.pause is there") for one in names] == [1, 1]


def test_trigger_is_noticed_at_once(watched, name, capfd):
    tree, poller = watched()
    poller.github.fault("/events", times=-1, delay=30)  # no poll will tell
    config = str(poller.config)
    assert main(["trigger", "--config", config, name, "main"]) == 0
    wait_for(lambda: poller.states(name) == ["success"], 20)  # of 60
    assert poller.builds(name) == [(MAIN, tree.head)]
    [build] = builds_in(poller.folder / name)
    state = poller.folder / name / "state.json"
    latest = {"build": build.id, "seconds": [], "built": tree.head}
    wait_for(lambda: json.loads(state.read_text())["latest"] == {MAIN: latest})
    assert "asked for by trigger, " in poller.output


def test_trigger_and_rerun_wait_for_the_end(watched, name, capfd):
    tree, poller = watched()
    config = ["--config", str(poller.config)]
    assert main(["trigger", *config, name, "--wait"]) == 0
    assert main(["rerun", *config, name, "--wait"]) == 0
    [build] = builds_in(poller.folder / name)
    assert capfd.readouterr().out == f"{build.path}\n" * 2
    assert main(["trigger", *config, name, build.id]) == 0  # again, by its build
    wait_for(lambda: poller.states(name) == ["success"] * 2)
    assert poller.builds(name) == [(MAIN, tree.head)] * 2


def test_without_a_poller_nothing_is_asked(watched, name, capfd):
    _, poller = watched()
    poller.stop()
    capfd.readouterr()
    assert main(["trigger", "--config", str(poller.config), name]) == 69
    assert f"no poller runs for {poller.folder}" in capfd.readouterr().err
    assert list((poller.folder / ".requests").glob("*.json")) == []


def test_a_build_runs_once_more(watched, name, capfd):
    tree, poller = watched()
    pushes(tree)
    wait_for(lambda: poller.states(name) == ["success"])
    [build] = builds_in(poller.folder / name)
    poller.says("finished main")
    (poller.folder / ".pause").touch()
    for count in 2, 3:
        pushes(tree)
        wait_for(partial(poller.counts, name, count))
    config = ["--config", str(poller.config)]
    assert main(["rerun", *config, name, tree.head]) == 69  # it waits
    assert main(["rerun", *config, build.id, "--from", "build"]) == 0
    wait_for(lambda: poller.states(name)[0] == "queued")
    assert build.rerun == "build"
    poller.settled(name)
    Stub.froms.clear()
    assert main(["resume", *config]) == 0
    wait_for(lambda: poller.states(name) == ["success", "superseded", "success"])
    assert Stub.froms == ["build", None]
    assert build.rerun is None
    lines = map(json.loads, (poller.folder / "journal.jsonl").read_text().splitlines())
    told = [line["what"] for line in lines if line["build"] == build.id]
    assert sorted(told[:2]) == ["staged", "started"]
    assert told[2:] == ["finished", "rerun", "started", "finished"]


def test_rerun_says_what_is_wrong(watched, name, capfd):
    tree, poller, _, config = waits(watched, name)
    assert main(["rerun", *config, "nothing"]) == 2
    assert main(["rerun", *config, name, "--from", "nothing"]) == 2
    environment = {"PYTHON": sys.executable, "CONFIG": str(poller.config)}
    command = [ROOT / "scripts/stage.sh", name, MAIN, tree.head]
    subprocess.run(command, env=environment | {"PATH": "/bin:/usr/bin"}, check=True)
    assert main(["rerun", *config, name]) == 1
    said = capfd.readouterr().err
    assert "nothing is no step (one of clone, npm-install" in said
    assert "was staged by hand (FROM=clone scripts/pipeline.sh" in said


def test_pause_and_resume(watched, name, capfd):
    tree, poller = watched()
    config = ["--config", str(poller.config)]
    assert main(["pause", *config, name]) == main(["pause", *config, name]) == 0
    assert main(["pause", *config, "no/such"]) == 2
    assert main(["pause", *config, "../.."]) == 2
    pushes(tree)
    poller.has(name, (MAIN, tree.head))
    assert poller.states(name) == ["queued"]
    assert main(["resume", *config, name]) == main(["resume", *config, name]) == 0
    wait_for(lambda: poller.states(name) == ["success"])
    lines = map(json.loads, (poller.folder / "journal.jsonl").read_text().splitlines())
    told = [line["what"] for line in lines]
    assert told.count("pause") == told.count("resume") == 1
    assert "is not paused" in capfd.readouterr().out


def waits(watched, name):
    """A push whose build waits: tree, poller, the build, and --config for commands."""
    tree, poller = watched()
    (poller.folder / ".pause").touch()
    pushes(tree)
    poller.has(name, (MAIN, tree.head))
    [build] = builds_in(poller.folder / name)
    return tree, poller, build, ["--config", str(poller.config)]


def test_a_broken_configuration_does_not_hide_the_builds(watched, name, capfd):
    tree, poller, build, config = waits(watched, name)
    poller.config.write_text("{")
    capfd.readouterr()
    assert main(["status", *config]) == main(["why", *config, tree.head]) == 0
    said = capfd.readouterr()
    assert build.id in said.out and "line 1 column 2" in said.err
    assert main(["cancel", *config, build.id]) == 0
    assert main(["plan", *config, name]) == 1


def test_trigger_says_what_is_wrong(watched, name, capfd):
    _, poller = watched()
    config = ["--config", str(poller.config)]
    assert main(["trigger", *config, "no/such"]) == 2
    assert main(["trigger", *config, name, "nothing"]) == 1
    said = capfd.readouterr().err
    assert 'no/such is not configured (add it under "repositories")' in said
    assert "has no branch or tag nothing" in said


def test_builds_of_a_person_are_left_alone(watched, name):
    tree, poller = watched()
    environment = {"PYTHON": sys.executable, "CONFIG": str(poller.config)}
    command = [ROOT / "scripts/stage.sh", name, MAIN, tree.head]
    subprocess.run(command, env=environment | {"PATH": "/bin:/usr/bin"}, check=True)
    poller.settled(name)
    assert poller.states(name) == ["staged"]
    pushes(tree)
    wait_for(lambda: poller.states(name) == ["staged", "success"])


def test_a_build_that_a_dead_poller_left_running(watched, name):
    _, poller, build, _ = waits(watched, name)
    (build.path / "console.log").touch()
    with lock(build.path / "lock"):
        (poller.folder / ".pause").unlink()
        (poller.folder / ".wake").touch()
        poller.settled(name)
        assert poller.states(name) == ["running"]
        assert not Stub.most
    wait_for(lambda: poller.states(name) == ["success"])


def test_a_build_that_never_leaves_a_result_is_an_error_in_the_end(watched, name):
    tree, poller = watched()
    Stub.code = 2
    pushes(tree)
    wait_for(lambda: poller.states(name) == ["error"])
    assert len(Stub.most) == RUNS
    poller.says("error: pipeline.sh ended without a result (2)")


def test_term_leaves_builds_to_the_next_start(watched, name):
    tree, poller = watched()
    Stub.gate.clear()
    pushes(tree)
    wait_for(lambda: Stub.running)
    poller.stop()
    assert poller.code == 143
    assert poller.states(name) == ["queued"]
    wait_for(lambda: not held(poller.folder / ".lock"))
    Stub.gate.set()
    poller.start()
    wait_for(lambda: poller.states(name) == ["success"])


def test_a_second_poller_says_so_and_ends(watched, capfd, here):
    _, poller = watched()
    second = here(poller.config)
    second.join()
    assert second.code == 69
    poller.says("polls for")


def test_once_builds_what_is_due_and_ends(watched, name):
    tree, poller = watched()
    poller.stop()
    pushes(tree)
    tree.git("tag", "v1.0.0")
    tree.push("v1.0.0")
    poller.start(once=True)
    poller.join()
    assert poller.code == 0
    assert poller.states(name) == ["success"] * 2


def test_once_tells_by_its_code_that_github_did_not_answer(watched, github):
    _, poller = watched()
    poller.stop()
    github.fault("/events", times=-1, status=500)
    poller.start(once=True)
    poller.join()
    assert poller.code == 1


def test_status_lists_the_builds(watched, name, capfd):
    tree, poller = watched()
    pushes(tree)
    wait_for(lambda: poller.states(name) == ["success"])
    (poller.folder / ".pause").touch()
    tree.git("tag", "v1.0.0")
    tree.push("v1.0.0")
    wait_for(lambda: len(poller.builds(name)) == 2)
    poller.stop()
    assert poller.output
    assert status.run(poller.folder) == 0
    nobody, paused, _, second, first = capfd.readouterr().out.splitlines()
    assert nobody.startswith("no poller runs") and paused.startswith("paused since")
    assert first.split()[:4] == ["success", name, "main", "-"]
    assert second.split()[:4] == ["queued", name, "tags/v1.0.0", "-"]


def test_cancel_leaves_a_build_that_has_ended(watched, name, capfd):
    tree, poller = watched()
    pushes(tree)
    wait_for(lambda: poller.states(name) == ["success"])
    [build] = builds_in(poller.folder / name)
    assert main(["cancel", "--config", str(poller.config), build.id]) == 1
    assert poller.states(name) == ["success"]


def test_int_cancels_what_had_hardly_begun(watched, name):
    tree, poller = watched()
    Stub.gate.clear()
    pushes(tree)
    wait_for(lambda: Stub.running)
    poller.stop(2)  # and this pipeline leaves no result
    assert poller.states(name) == ["cancelled"]
    assert poller.code == 130


def test_after_term_what_had_begun_goes_on(watched, name):
    tree, poller = watched()
    Stub.gate.clear()
    pushes(tree)
    wait_for(lambda: Stub.running)
    poller.stop(15)
    assert poller.states(name) == ["queued"]
    assert poller.code == 143


def test_a_directory_that_cannot_be_read_stops_no_other(watched, name):
    tree, poller = watched()
    strange = poller.folder / "other/one/20260101T000000.000000Z-1234567/build.json"
    strange.mkdir(parents=True)
    pushes(tree)
    wait_for(lambda: poller.states(name) == ["success"])
    poller.says(f"{strange}: Is a directory")


def test_cancel_of_a_process_that_is_gone_or_of_a_pattern(watched, name, monkeypatch):
    _, _, build, config = waits(watched, name)
    assert main(["cancel", *config, "*"]) == 2
    monkeypatch.setattr(ending, "PATIENCE", 0.3)
    with lock(build.path / "lock"):
        (build.path / "lock").write_text("4194305\n")  # no process has such a number
        assert main(["cancel", *config, build.id]) == 1
    assert build.result() is None


def test_cancel_ends_a_build_that_waits(watched, name, capfd):
    _, poller, build, config = waits(watched, name)
    assert main(["cancel", *config, build.id]) == 0
    assert main(["cancel", *config, str(build.path)]) == 0
    assert main(["cancel", *config, "nothing"]) == 2
    assert json.loads((build.path / "result.json").read_text())["status"] == "cancelled"
    poller.says("finished main")
    (poller.folder / ".pause").unlink()
    poller.settled(name)
    assert not Stub.most


def test_a_repository_taken_out_of_the_configuration_still_has_its_builds_built(
    watched, name, configure
):
    _, poller, *_ = waits(watched, name)
    configure("other/one")
    poller.says("removed")
    (poller.folder / ".pause").unlink()
    wait_for(lambda: poller.states(name) == ["success"])


def test_cancel_of_a_build_on_another_host_leaves_a_wish(watched, name, monkeypatch):
    _, _, build, config = waits(watched, name)
    monkeypatch.setattr(ending, "PATIENCE", 0.3)
    with subprocess.Popen(["sleep", "60"]) as process, lock(build.path / "lock"):
        (build.path / "lock").write_text(f"elsewhere {process.pid} 0123456789abcdef\n")
        assert main(["cancel", *config, build.id]) == 1
        assert process.poll() is None  # it has the number, on this host
        assert (build.path / "cancelled").exists()
        ours = f"{os.uname().nodename} {process.pid} 0123456789abcdef\n"
        (build.path / "lock").write_text(ours)
        assert main(["cancel", *config, build.id]) == 1
        assert process.wait(10) == -signal.SIGTERM


def test_cancel_of_a_build_that_an_older_version_runs(watched, name, monkeypatch):
    _, _, build, config = waits(watched, name)
    monkeypatch.setattr(ending, "PATIENCE", 0.3)
    with subprocess.Popen(["sleep", "60"]) as process, lock(build.path / "lock"):
        (build.path / "lock").write_text(f"{process.pid}\n")
        assert main(["cancel", *config, build.id]) == 1
        assert process.wait(10) == -signal.SIGTERM


def test_the_oldest_of_all_repositories_starts_first(make_repo, configure, here, name):
    names = [f"{name}-{i}" for i in range(4)]
    trees = {n: make_repo(name=n) for n in names}
    Stub.gate.clear()
    poller = here(configure(*names, concurrency=1))
    for n in names:
        poller.settled(n)
    started = []
    for n in names[2], names[3], names[0], names[1]:  # in no order of names
        pushes(trees[n])
        wait_for(partial(poller.counts, n, 1))
        started.append(builds_in(poller.folder / n)[0].id)
    wait_for(lambda: Stub.running)
    Stub.gate.set()
    wait_for(lambda: all(poller.states(n) == ["success"] for n in names))
    lines = (poller.folder / "journal.jsonl").read_text().splitlines()
    told = [x["build"] for x in map(json.loads, lines) if x["what"] == "started"]
    assert told == started == sorted(started)


def test_status_says_where_a_build_failed_and_how_long_that_took(tmp_path, capsys):
    path = tmp_path / "o/n/20261122T051000.123456Z-1a2b3c4"
    path.mkdir(parents=True)
    about = {"ref": MAIN, "commit": "1a2b3c4" * 6, "source": "event"}
    (path / "build.json").write_text(json.dumps(about))
    (path / "version").write_text("1.2.3\n")
    result = {"status": "failure", "failed_step": "unit-test", "steps": []}
    result |= {"started_at": "2026-11-22T05:10:00Z"}
    result |= {"finished_at": "2026-11-22T05:11:17Z"}
    (path / "result.json").write_text(json.dumps(result))
    assert status.run(tmp_path) == 0
    *_, row = capsys.readouterr().out.splitlines()
    cells = ["failure", "(unit-test)", "o/n", "main", "1.2.3", "2026-11-22T05:11:17Z"]
    assert row.split() == [*cells, "77", "s", "-"]
