"""The story of a commit, branch, tag or build: the journal's, and the builds' own."""

import json

import pytest

from tests.wrapper.test_directory import make  # noqa: F401
from wrapper.builds import journal
from wrapper.builds.lock import lock
from wrapper.commands import why

COMMIT = "1a2b3c4d" * 5


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def story(folder, asked, capsys):
    code = why.run(folder, [asked])
    said = capsys.readouterr()
    return code, said.out.splitlines() if code == 0 else said.err


@pytest.mark.parametrize(
    "asked", ["1a2b", COMMIT, "1A2B3C4D", "main", "refs/heads/main", "heads/x/y"]
)
def test_a_commit_by_its_first_digits_a_branch_by_its_name(folder, asked, capsys):
    journal.tell(folder, "o/n", "noted", "one", "refs/heads/main", COMMIT)
    journal.tell(folder, "o/n", "noted", "two", "refs/heads/heads/x/y", COMMIT)
    journal.tell(folder, "o/n", "noted", "three", "refs/tags/v1", "f" * 40)
    capsys.readouterr()
    code, lines = story(folder, asked, capsys)
    assert code == 0
    expected = {"main": 1, "refs/heads/main": 1, "heads/x/y": 1}.get(asked, 2)
    assert len(lines) == expected
    assert " o/n: noted " in lines[0]


@pytest.mark.parametrize("asked", ["v1", "refs/tags/v1", "ffff"])
def test_a_tag(folder, asked, capsys):
    journal.tell(folder, "o/n", "noted", "three", "refs/tags/v1", "f" * 40)
    code, [line] = story(folder, asked, capsys)
    assert code == 0 and line.endswith("o/n: noted tags/v1 at fffffff: three")


def test_a_build_by_its_id(folder, make, capsys):  # noqa: F811
    build = make(1)
    journal.tell(folder, "o/n", "staged", "x", build=build)
    assert story(folder, build.id, capsys)[0] == 0


@pytest.mark.parametrize("asked", ["1a2", "2b3c", "nothing", ""])
def test_what_nobody_knows(folder, asked, capsys):
    assert why.run(folder, [asked]) == 1
    journal.tell(folder, "o/n", "noted", "one", "refs/heads/main", COMMIT)
    capsys.readouterr()
    code, said = story(folder, asked, capsys)
    assert code == 1 and f"does not know {asked}" in said


def test_half_a_line_spoils_no_other(folder, capsys):
    path = folder / "journal.jsonl"
    path.write_text('{"time": "20\n[1]\n{}\nnull\n')
    journal.tell(folder, "o/n", "noted", "one", "refs/heads/main", COMMIT)
    capsys.readouterr()
    code, lines = story(folder, "main", capsys)
    assert code == 0 and len(lines) == 1


def test_names_cannot_control_the_terminal(folder, capsys):
    journal.tell(folder, "o/n", "noted", "x\ny", "refs/heads/a\x1b[2Jb\udcff", COMMIT)
    capsys.readouterr()
    _, [line] = story(folder, "1a2b3", capsys)
    assert line.endswith("noted ab? at 1a2b3c4: x y")


@pytest.fixture
def builds(tmp_path, make):  # noqa: F811
    """Where `make` puts its builds."""
    (tmp_path / "builds").mkdir()
    return tmp_path / "builds"


@pytest.mark.parametrize("asked", ["1a2b", "main", "1a2b3c4" * 6])
def test_builds_by_hand_say_what_their_results_say(builds, make, capsys, asked):  # noqa: F811
    first = make(1, source="manual", staged_at="2026-11-22T05:10:01Z")
    make(2, source="manual", ref="refs/heads/other", commit="f" * 40)
    third = make(3, source="manual", staged_at="2026-11-22T05:10:03Z")
    result = {"status": "failure", "failed_step": "build", "message": "no Dockerfile"}
    result |= {"finished_at": "2026-11-22T05:11:00Z"}
    (third.path / "result.json").write_text(json.dumps(result))
    known = make(4)
    journal.tell(builds, "o/n", "staged", "event 7", build=known)
    capsys.readouterr()
    code, lines = story(builds, asked, capsys)
    assert code == 0
    words = "failure at build: no Dockerfile (by hand)"
    assert lines[0].endswith(f"staged main at 1a2b3c4: event 7 [{known.id}]")
    assert lines[1:] == [
        f"2026-11-22T05:10:01Z o/n: staged main at 1a2b3c4: by hand [{first.id}]",
        f"2026-11-22T05:11:00Z o/n: finished main at 1a2b3c4: {words} [{third.id}]",
    ]


def test_a_build_by_hand_by_its_id(builds, make, capsys):  # noqa: F811
    build = make(1, source="manual")
    make(2, source="manual")
    with lock(build.path / "lock"):
        code, [line] = story(builds, build.id, capsys)
    assert code == 0
    assert line == f"- o/n: running main at 1a2b3c4: by hand [{build.id}]"


def test_odd_bytes_in_builds_and_journal(builds, make, capsys):  # noqa: F811
    build = make(1, source="manual")
    (build.path / "build.json").write_bytes(b'{"ref": "\xff\x1b[2J"}')
    (make(2, source="manual").path / "result.json").write_bytes(b"\xff")
    odd = {"time": "x\x1b[2J", "repository": "\udcff", "what": "a", "ref": [7]}
    line = json.dumps(odd | {"commit": {"main": 3}, "build": [9]})
    (builds / "journal.jsonl").write_text(line + "\n")
    assert story(builds, build.id, capsys)[0] == 0
    code, [line] = story(builds, "main", capsys)
    assert code == 0 and "finished main at 1a2b3c4: unknown (by hand)" in line
    assert story(builds, "[7]", capsys) == (0, ["x ?: a [7] at {'main': None [[9]]"])


def test_a_journal_that_cannot_be_read_hides_no_build(builds, make, capsys):  # noqa: F811
    build = make(1, source="manual")
    (builds / "journal.jsonl").mkdir()
    assert why.run(builds, ["main"]) == 0
    said = capsys.readouterr()
    assert said.err == f"{builds}/journal.jsonl: Is a directory\n"
    assert build.id in said.out
