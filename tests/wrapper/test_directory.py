"""The builds directory, read and written."""

import json
import os

import pytest

from wrapper.builds.directory import (
    NEWER,
    Build,
    Newer,
    builds_in,
    folders,
    read_json,
    superseded,
    write,
)
from wrapper.builds.lock import lock


@pytest.fixture
def make(tmp_path):
    """make(NUMBER, **info) -> Build, in builds/o/n"""

    def make(number, **info):
        name = f"20261122T0510{number:02}.000000Z-1a2b3c4"
        path = tmp_path / "builds/o/n" / name
        path.mkdir(parents=True)
        settings = {"superseded": info.pop("superseded", "skip")}
        about = {"ref": "refs/heads/main", "source": "event", "commit": "1a2b3c4" * 6}
        about |= {"settings": settings} | info
        (path / "build.json").write_text(json.dumps(about))
        return Build(path)

    return make


def test_builds_are_found_in_order_and_nothing_else_is(make, tmp_path):
    make(2)
    first = make(1)
    folder = tmp_path / "builds/o/n"
    (folder / "latest").symlink_to(first.id)
    (folder / ".staging").mkdir()
    (folder / "state.json").touch()
    (tmp_path / "builds/.cache/git").mkdir(parents=True)
    assert [b.id[13:15] for b in builds_in(folder)] == ["01", "02"]
    assert [b.id[13:15] for b in builds_in(folder, first.id)] == ["02"]
    assert [f.name for f in folders(tmp_path / "builds")] == ["n"]
    assert builds_in(tmp_path / "nothing") == []
    assert first.repository == "o/n"


def test_one_that_is_at_another_machine_is_not_superseded(make):
    older, newer = make(1), make(2)
    assert list(superseded([older, newer])) == [(older, newer)]
    (older.path / "lock").symlink_to("/shared/o/n/lock")
    assert older.state() == "running" and list(superseded([older, newer])) == []


def test_states(make):
    build = make(1)
    assert build.state() == "queued"
    (build.path / "console.log").touch()
    assert build.state() == "interrupted"
    with lock(build.path / "lock"):
        assert build.state() == "running"
    (build.path / "result.json").write_text('{"status": "failure"}')
    assert build.state() == "failure"
    (build.path / "result.json").write_text("")
    assert build.state() == "unknown"
    by_hand = make(2, source="manual")
    (by_hand.path / "console.log").touch()  # it has had a step
    assert by_hand.state() == "staged"


def test_a_build_is_closed_once_and_not_while_it_runs(make):
    build = make(1)
    with lock(build.path / "lock"):
        assert not build.close("cancelled", "no")
    assert build.result() is None
    assert build.close("superseded", "by x")
    assert not build.close("cancelled", "no")
    result = build.result()
    assert result["format"] == 1
    assert (result["status"], result["message"]) == ("superseded", "by x")
    assert result["steps"] == result["pushed"] == result["failing"] == []
    keys = ["status", "failed_step", "exit_code", "message", "failing", "started_at"]
    keys += ["finished_at", "steps", "tests", "version", "image", "pushed"]
    assert list(result) == ["format", *keys]  # in pipeline.sh's order


def test_the_newest_push_of_a_branch_supersedes_those_before(make):
    builds = [
        make(1),
        make(2, ref="refs/tags/v1"),
        make(3, ref="refs/heads/other"),
        make(4),
        make(5, ref="refs/tags/v1"),
        make(6),
    ]
    found = [(a.id[13:15], b.id[13:15]) for a, b in superseded(builds)]
    assert found == [("01", "06"), ("04", "06")]


def test_none_does_where_every_push_is_wanted(make):
    assert not list(superseded([make(1, superseded="build"), make(2)]))


def test_what_is_staged_in_the_place_of_a_skipped_build_is_no_newer_than_that(make):
    marked, newer = make(1), make(2)
    late = make(3, source="sweep", event=marked.id)
    assert (late.place, late.event, newer.place) == (marked.id, None, newer.id)
    pairs = superseded([newer, late])
    assert [(a.id, b.id) for a, b in pairs] == [(late.id, newer.id)]


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "\xff", "[" * 99999])
def test_what_is_no_file_of_ours_is_empty(tmp_path, text):
    path = tmp_path / "x.json"
    assert read_json(path) is None
    path.write_text(text)
    assert read_json(path) == {}


def test_a_file_is_replaced_in_one_moment(tmp_path):
    path = tmp_path / "x"
    write(path, "one")
    inode = path.stat().st_ino
    write(path, "two")
    assert path.read_text() == "two" and path.stat().st_ino != inode
    assert os.listdir(tmp_path) == ["x"]


def test_a_newer_format_is_refused_in_words(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"format": 2}')
    with pytest.raises(Newer, match=r"x\.json was written by a newer version, .*2"):
        read_json(path)
    for text in '{"format": 1, "a": 1}', '{"format": "2", "a": 1}', '{"a": 1}':
        path.write_text(text)
        assert (read_json(path) or {})["a"] == 1


@pytest.mark.parametrize("file", ["build.json", "result.json"])
def test_a_build_of_a_newer_format_is_shown_and_left_alone(make, file):
    build = make(1)
    about = json.loads((build.path / "build.json").read_text())
    (build.path / file).write_text(json.dumps(about | {"format": 2}))
    build = Build(build.path)
    assert build.newer and not make(2).newer
    assert build.state() == NEWER
    assert not build.close("cancelled", "no")
    assert not build.ours or build.result() is not None


def test_settings_are_files_that_a_person_may_edit(make):
    build = make(1)
    folder = build.path / "settings"
    (folder / "timeouts").mkdir(parents=True)
    (folder / "status").write_text("true")
    (folder / "repository").write_text("o/n\n")
    (folder / "context").write_bytes(b"a\xffb\n\n")
    (folder / "target").write_text("")
    (folder / "timeouts/build").write_text("1800")
    (folder / "branches").write_bytes(b"main\0release/*\0")
    keys = ["status", "repository", "context", "target", "timeouts/build", "branches"]
    assert [build.setting(key) for key in keys] == [
        "true",
        "o/n",
        "a\ufffdb\n",
        "",
        "1800",
        "main\0release/*\0",
    ]
    # build.json has it, but what has no file is null
    assert build.setting("superseded") is None
    assert build.setting("timeouts/clone") is None
    assert build.setting("status/x") is None


def test_settings_of_a_build_that_an_older_version_staged(make):
    about: dict[str, object] = {"superseded": "build", "status": False, "keep": 7}
    about |= {"timeouts": {"build": 2.5}, "target": None, "tags": ["a", "b"]}
    build = make(1, settings=about)
    keys = ["superseded", "status", "keep", "timeouts/build", "target", "tags", "x/y"]
    values = ["build", "false", "7", "2.5", None, "a\0b\0", None]
    assert [build.setting(key) for key in keys] == values
    assert make(2, settings=3).setting("status") is None
