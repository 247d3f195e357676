"""All builds, the newest first, and nothing read that is not shown."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.parts import ROOT
from tests.wrapper.test_directory import make  # noqa: F401
from wrapper.builds.directory import Build
from wrapper.builds.lock import lock
from wrapper.builds.store import ENDED, Store
from wrapper.commands import status

RESULT = {
    "format": 1,
    "status": "success",
    "failed_step": None,
    "started_at": "2026-11-26T05:10:00Z",
    "finished_at": "2026-11-26T05:10:42Z",
    "steps": [],
    "version": "1.2.3",
    "pushed": [],
}


def many(builds: Path, count: int, repositories: int = 20) -> None:
    """So many finished builds, in turn of the repositories."""
    build = {"format": 1, "ref": "refs/heads/main", "commit": "1a2b3c4" * 6}
    build |= {"source": "event", "settings": dict.fromkeys(map(str, range(40)), "x")}
    for number in range(count):
        seconds, micros = divmod(number, 1000)
        name = f"20261126T{seconds:06}.{micros:06}Z-1a2b3c4"
        path = builds / f"o/r{number % repositories}" / name
        path.mkdir(parents=True)
        (path / "build.json").write_text(json.dumps(build))
        (path / "result.json").write_text(json.dumps(RESULT))
        (path / "version").write_text("1.2.3\n")
        (path / "lock").touch()


@pytest.fixture
def builds(tmp_path):
    return tmp_path / "builds"


def named(builds, repository, number):
    """A build of any repository, by its number in time."""
    path = builds / repository / f"20261122T0510{number:02}.000000Z-1a2b3c4"
    path.mkdir(parents=True)
    about = {"ref": "refs/heads/main", "source": "event", "commit": "1a2b3c4" * 6}
    (path / "build.json").write_text(json.dumps(about))
    return Build(path)


def finished(build, **about):
    (build.path / "result.json").write_text(json.dumps(RESULT | about))
    return build


def numbers(found):
    return [int(build.id[13:15]) for build in found]


def test_the_newest_first_over_all_repositories(builds):
    for number in range(1, 10):
        named(builds, f"o/{'abc'[number % 3]}", number)
    (builds / "o/a/latest").symlink_to("x")
    (builds / "o/a/.staging").mkdir()
    (builds / ".cache/git").mkdir(parents=True)
    (builds / "journal.jsonl").touch()
    (builds / "o/file").touch()
    found = Store(builds)
    assert numbers(found.newest()) == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert numbers(found.newest("o/b")) == [7, 4, 1]
    assert (found.count(), found.count("o/b"), found.count("../o")) == (9, 3, 0)
    assert list(Store(builds / "none").newest()) == []


def test_a_listing_is_kept_while_its_folder_is_the_same(builds, monkeypatch):
    named(builds, "o/a", 1)
    lists = []
    real = os.listdir

    def listdir(folder):
        lists.append(folder)
        return real(folder)

    monkeypatch.setattr(os, "listdir", listdir)
    found = Store(builds)
    for _ in range(3):  # it may change once more within the same tick of the clock
        assert found.count() == 1
    assert len(lists) == 3
    past = time.time() - 60
    os.utime(builds / "o/a", (past, past))
    for _ in range(3):
        assert found.count() == 1
    assert len(lists) == 4
    named(builds, "o/a", 2)
    assert found.count() == 2


def test_what_runs_is_found_among_the_newest(builds):
    all = [named(builds, "o/a", number) for number in range(1, 30)]
    waiting, running, ended = all[20:], all[19], all[:19]
    for build in ended:
        finished(build)
    with lock(running.path / "lock"), lock(ended[3].path / "lock"):
        assert numbers(Store(builds).running()) == [20]
        assert numbers(Store(builds).running("o/a")) == [20]
        assert Store(builds).running("o/b") == []
    assert Store(builds).running() == [] and waiting


def test_a_refs_newest_build_that_runs_again_is_found(builds):
    all = [finished(named(builds, "o/a", number)) for number in range(1, 30)]
    again = all[29 - ENDED - 10]
    (again.path / "result.json").unlink()
    latest = {"refs/heads/quiet": {"build": again.id, "seconds": []}}
    with lock(again.path / "lock"):
        assert Store(builds).running() == []
        (builds / "o/a/state.json").write_text(json.dumps({"latest": latest}))
        assert [b.id for b in Store(builds).running()] == [again.id]
        for text in '{"latest": 3}', '{"latest": {"x": 7}}', '{"format": 2}', "{":
            (builds / "o/a/state.json").write_text(text)
            assert Store(builds).running() == []


def table(capfd, *args, **more):
    """The rows, without the remark that no poller runs."""
    assert status.run(*args, **more) == 0
    remark, *lines = capfd.readouterr().out.splitlines()
    assert remark.startswith("no poller runs for")
    return [line.split() for line in lines]


def test_status_shows_what_runs_then_the_newest_of_each_ref(builds, capfd):
    for number in range(1, 41):
        finished(named(builds, f"o/{number % 2}", number))
    late, early = named(builds, "o/0", 42), named(builds, "o/1", 41)
    (late.path / "version").write_text("7.0.0\n")
    (late.path / "commit").write_text("Ada\nfix: it\n")
    with lock(early.path / "lock"):
        head, first, second, words = table(capfd, builds)
        names = "STATUS REPOSITORY REF VERSION WHEN TOOK SUBJECT"
        assert head == names.split()
        assert first[:4] == ["running", "o/1", "main", "-"]
        assert second[:4] == ["queued", "o/0", "main", "7.0.0"]
        assert second[-3:] == ["fix:", "it,", "Ada"]
        assert " ".join(words) == "40 older builds (-n N, or --all)"
        rows = table(capfd, builds, all=True)
        assert len(rows) == 43
        assert [row[1] for row in rows[1:3]] == [early.name, late.name]
        assert rows[3][:2] == ["success", f"o/0/{late.id.replace('42.', '40.')}"]
        ids = [row[1].rpartition("/")[2] for row in rows[2:]]
        assert ids == sorted(ids, reverse=True)
        assert len(table(capfd, builds, number=1)) == 3
        one = table(capfd, builds, "o/1")
        assert [row[1] for row in one[1:-1]] == ["o/1"]
    assert status.run(builds, "o/none") == 1
    assert "o/none has no builds" in capfd.readouterr().err


def test_status_as_json(builds, capfd):
    build = finished(named(builds, "o/a", 1))
    assert status.run(builds, as_json=True) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["format"], found["poller"]["running"]) == (1, False)
    assert [one["id"] for one in found["builds"]] == [build.id]


def test_with_nothing_built_status_says_how_to_start(builds, capfd, monkeypatch):
    builds.mkdir()
    config = builds.parent / "config.json"
    config.write_text('{"registry": "a:1", "repositories": {"o/n": {}}}')
    monkeypatch.setenv("CONFIG", str(config))
    assert status.run(builds) == 0
    said = capfd.readouterr().out
    assert "nothing was built yet" in said
    assert "  o/n: docker-build-server trigger o/n\n" in said


def test_what_stands_above_the_table(builds, capfd):
    named(builds, "o/a", 1)
    (builds / ".pause").write_text("2026-11-22T05:10:00Z ada@host\n")
    (builds / "o/a/.pause").touch()
    (builds / ".health.json").write_text('{"host": ["docker engine: gone"]}')
    with lock(builds / ".lock"):
        assert status.run(builds) == 0
    all, one, host, *_ = capfd.readouterr().out.splitlines()
    assert all.startswith("paused since 2026-11-22T05:10:00Z by ada@host: everything")
    assert one.endswith("(docker-build-server resume o/a)")
    assert host == "nothing starts: docker engine: gone"


@pytest.mark.parametrize("file", ["build.json", "result.json", "lock", "version"])
def test_a_file_that_cannot_be_read_spoils_no_other_row(builds, capfd, file):
    named(builds, "o/a", 1)
    strange = finished(named(builds, "o/a", 2))
    if file in ("lock", "build.json"):
        (strange.path / "result.json").unlink()
    (strange.path / file).unlink(missing_ok=True)
    (strange.path / file).mkdir()
    _, row, other = table(capfd, builds, all=True)
    assert strange.name in row and other[0] == "queued"
    if file in ("build.json", "result.json"):
        assert row[:4] == ["Is", "a", "directory", strange.name]
        assert status.run(builds) == 0


def test_odd_bytes_are_shown_as_such(builds, capfd):
    strange = finished(named(builds, "o/a", 1), version=None)
    (strange.path / "version").write_bytes(b"1.\xff\x1b[2J\n2")
    (strange.path / "build.json").write_bytes(b'{"ref": "\xff"}')
    other = finished(named(builds, "o/a", 2), status=[7], failed_step={"x": "\x1b"})
    (other.path / "build.json").write_text('{"ref": 7, "commit": {}}')
    broken = named(builds, "o/a", 3)
    (broken.path / "result.json").write_bytes(b"\xff")
    newer = finished(named(builds, "o/a", 4), format=2)
    rows = table(capfd, builds, all=True)[1:]
    assert rows[0] == ["of", "a", "newer", "version", newer.name, "main", "-", "-", "-"]
    assert rows[1] == ["unknown", broken.name, "main", "-", "-", "-"]
    assert other.name in rows[2]
    assert rows[3] == ["success", strange.name, "-", "1.\ufffd", "2", "42", "s", "-"]


def command(builds, *args, prefix=(), env=None, **more):
    config = builds.parent / "config.json"
    config.write_text('{"registry": "a:1", "repositories": {}}')
    words = [*prefix, sys.executable, "-P", "-m", "wrapper", *args, "--config", config]
    clean = {k: v for k, v in os.environ.items() if k not in ("BUILDS", "CONFIG")}
    clean |= {"PYTHONPATH": str(ROOT)} | (env or {})
    return subprocess.run(words, capture_output=True, text=True, env=clean, **more)


NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_what_is_another_users(tmp_path):
    """Nobody looks at what is root's, in part."""
    if subprocess.run([*NOBODY, sys.executable, "-c", ""]).returncode:
        pytest.skip("this Python is for root alone")
    top = Path("/tmp") / f"store-{os.getpid()}"
    builds = top / "builds"
    try:
        good, secret = named(builds, "o/a", 1), finished(named(builds, "o/a", 2))
        closed = named(builds, "o/closed", 3)
        (builds / "journal.jsonl").write_text("{}")
        (builds / "journal.jsonl").chmod(0)
        secret.path.chmod(0o700)
        closed.path.parent.chmod(0o700)
        (builds / "p").mkdir(0o700)
        done = command(builds, "status", prefix=NOBODY)
        assert (done.returncode, done.stderr) == (0, "")
        _, _, hidden, row, *others = done.stdout.splitlines()
        assert secret.id in hidden and "Permission denied" in hidden
        assert row.split()[:4] == ["queued", "o/a", "main", "-"]
        assert others == [
            f"{builds}/p: Permission denied",
            f"{builds}/o/closed: Permission denied",
        ]
        done = command(builds, "why", good.id, prefix=NOBODY)
        assert done.returncode == 0
        assert f"queued main at 1a2b3c4: not in the journal [{good.id}]" in done.stdout
        assert done.stderr == f"{builds}/journal.jsonl: Permission denied\n"
        done = command(builds, "why", secret.id, prefix=NOBODY)
        assert done.returncode == 1 and "Permission denied" in done.stderr
    finally:
        subprocess.run(["rm", "-rf", top], check=True)


@pytest.mark.parametrize("words", [["status", "--all"], ["why", "main"]])
def test_a_pipe_that_is_closed(builds, words):
    many(builds, 2000)
    config = builds.parent / "config.json"
    config.write_text('{"registry": "a:1", "repositories": {}}')
    run = f"{sys.executable} -P -m wrapper {' '.join(words)} --config {config}"
    script = f"set -o pipefail; {run} | head -n 1"
    clean = {k: v for k, v in os.environ.items() if k not in ("BUILDS", "CONFIG")}
    clean |= {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=clean
    )
    assert (done.returncode, done.stderr) == (141, "")
    assert done.stdout.count("\n") == 1


def test_names_in_a_locale_that_has_not_their_letters(builds):
    build = named(builds, "o/a", 1)
    about = {"ref": "refs/heads/東京", "commit": "1" * 40}
    (build.path / "build.json").write_text(json.dumps(about))
    done = command(builds, "status", env={"PYTHONIOENCODING": "latin-1"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "??" in done.stdout


def test_arguments_of_status(builds):
    for wrong in ["-n", "x"], ["-n", "-1"], ["-n"], ["a/b", "c/d"]:
        assert command(builds, "status", *wrong).returncode == 2
    assert command(builds, "status", "-n", "3").returncode == 0
    assert command(builds, "status", "o/n").returncode == 1


def test_two_thousand_builds_are_listed_soon(builds):
    many(builds, 2000)
    start = time.monotonic()
    assert "1980 older builds" in command(builds, "status").stdout
    assert time.monotonic() - start < 5  # it takes 0.2 s; 20,000 read whole took 6.7


def test_status_loads_neither_requests_nor_sh(builds):
    builds.mkdir()
    code = (
        "import sys; from wrapper.__main__ import main; main(['status'])\n"
        "print(sorted({'requests', 'sh', 'watchdog'} & set(sys.modules)))"
    )
    config = builds.parent / "config.json"
    config.write_text('{"registry": "a:1", "repositories": {}}')
    env = os.environ | {"CONFIG": str(config), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, env=env
    )
    assert done.stdout.splitlines()[-1] == "[]"
