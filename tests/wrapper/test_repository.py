"""One repository's visits: a round that fails, a state that is not to be read."""

import json
import threading

import pytest

from tests.wrapper.test_directory import make  # noqa: F401
from wrapper.builds.process import Failed
from wrapper.config.load import Settings
from wrapper.github.client import Page
from wrapper.pushes import repository, stager
from wrapper.pushes.repository import GIT, Repository

MAIN, OTHER = "refs/heads/main", "refs/heads/other"
TIMES = {"started_at": "2026-11-26T05:10:00Z", "finished_at": "2026-11-26T05:10:07Z"}


class Hub:
    """In GitHub's place: its feed, and git's refs."""

    def __init__(self):
        self.events = []
        self.heads = {MAIN: "a" * 40, OTHER: "a" * 40}
        self.polls = 0
        self.short = False

    def saves(self):
        return self.short

    def feed(self, name):
        return f"http://hub/{name}"

    def page(self, url, etag=""):
        self.polls += 1
        return Page(list(self.events), "", None, 60, None)

    def push(self, number, ref, before, head):
        payload = {"ref": ref, "before": before * 40, "head": head * 40}
        about = {"id": str(number), "type": "PushEvent", "payload": payload}
        self.events.insert(0, about)
        self.heads[ref] = head * 40


@pytest.fixture
def hub(monkeypatch):
    hub = Hub()
    monkeypatch.setattr(
        repository, "heads", lambda url, _: stager.Heads(dict(hub.heads), None)
    )
    return hub


@pytest.fixture
def visits(hub, tmp_path, monkeypatch, make):  # noqa: F811
    """visits.visit(): a round; a ref in visits.refused cannot be staged."""
    document: dict[str, object] = {"repository": "o/n", "tags": []}
    document |= {"url": "https://github.com/o/n.git"}
    document |= {"branches": ["*"], "tag_prefix": "", "paths": None}
    document |= {"image": "o/n", "superseded": "skip", "timeouts": {}}

    class Visits:
        refused: set[str] = set()  # noqa: RUF012
        count = 0
        document: dict[str, object]

        def __init__(self):
            self.folder = tmp_path / "builds/o/n"
            self.document = document
            self.restart()

        def restart(self):
            settings = Settings.of(self.document)
            self.repository = Repository("o/n", settings, tmp_path / "builds", hub)

        def visit(self):
            self.repository.feed.due = self.repository.git.due = 0
            self.repository.poll(60)
            return self.repository.compare(60, 600)

        def stage(self, name, settings, builds, ref, commit, **why):
            if ref in self.refused:
                raise Failed(75, "the disk is full")
            self.count += 1
            return make(self.count, ref=ref, commit=commit, source=why["SOURCE"])

        def journal(self, what):
            text = (tmp_path / "builds/journal.jsonl").read_text().splitlines()
            return [x["commit"][0] for x in map(json.loads, text) if x["what"] == what]

        @property
        def state(self):
            return json.loads((self.folder / "state.json").read_text())

    (tmp_path / "builds").mkdir()
    visits = Visits()
    monkeypatch.setattr(stager, "stage", visits.stage)
    visits.visit()
    return visits


def test_a_round_that_fails_half_way_repeats_no_line(visits, hub):
    hub.push(1, MAIN, "a", "b")
    hub.push(2, MAIN, "b", "c")
    hub.push(3, OTHER, "a", "d")
    hub.push(4, OTHER, "d", "e")
    visits.refused = {OTHER}
    for _ in range(3):
        visits.visit()
    assert visits.journal("superseded") == ["b", "d"]
    assert visits.journal("staged") == ["c"]
    visits.refused = set()
    assert visits.visit()
    assert visits.journal("superseded") == ["b", "d"]
    assert visits.journal("staged") == ["c", "e"]
    visits.visit()
    assert visits.journal("superseded") == ["b", "d"]


def test_the_same_again_is_written_again(visits, hub):
    """main goes back and forth: its line is one of another round."""
    steps = [("a", "b"), ("b", "c"), ("c", "a"), ("a", "b"), ("b", "c")]
    for number, (before, head) in enumerate(steps, 1):
        hub.push(number, MAIN, before, head)
        if head == "c":
            visits.visit()
    assert visits.journal("superseded") == ["b", "a", "b"]


def test_a_state_of_a_newer_version_stops_the_repository(visits, hub, capfd):
    path = visits.folder / "state.json"
    newer = json.dumps(visits.state | {"format": 2, "more": 7})
    path.write_text(newer)
    hub.push(1, MAIN, "a", "b")
    visits.restart()
    for _ in range(2):
        assert not visits.visit()
    words = f"{path} was written by a newer version, as format 2: nothing is done"
    assert capfd.readouterr().out.count(words) == 1
    assert words in visits.repository.trouble()
    visits.repository.note(make_build(visits), None)
    assert path.read_text() == newer
    path.write_text(newer.replace('"format": 2', '"format": 1'))
    assert visits.visit()
    assert not visits.repository.trouble()


def make_build(visits):
    return visits.stage("o/n", None, None, MAIN, "f" * 40, SOURCE="event")


def test_the_newest_build_of_each_ref_is_in_the_state(visits, hub):
    assert visits.state["latest"] == {}
    hub.push(1, MAIN, "a", "b")
    hub.push(2, OTHER, "a", "b")
    visits.visit()
    latest = visits.state["latest"]
    assert latest.keys() == {MAIN, OTHER}
    assert latest[MAIN]["build"] < latest[OTHER]["build"]
    build = make_build(visits)  # as trigger does
    visits.repository.note(build, None)
    expected = {"build": build.id, "seconds": [], "built": ""}
    assert visits.state["latest"][MAIN] == expected
    for status in "success", "failure", "success":
        visits.repository.note(build, TIMES | {"status": status})
    expected |= {"seconds": [7.0, 7.0], "built": build.commit}
    assert visits.state["latest"][MAIN] == expected
    del hub.heads[OTHER]
    visits.visit()
    assert visits.state["latest"].keys() == {MAIN}
    visits.restart()
    visits.visit()
    assert visits.state["latest"][MAIN]["seconds"] == [7.0, 7.0]


def test_a_feed_that_hangs_holds_up_no_comparison(visits, hub, monkeypatch):
    """And what it shows in the end is not handled twice."""
    hub.push(1, MAIN, "a", "b")
    hub.push(2, MAIN, "b", "c")
    held, reached = threading.Event(), threading.Event()
    page = hub.page

    def hang(*args):
        reached.set()
        held.wait(30)
        return page(*args)

    monkeypatch.setattr(hub, "page", hang)
    one = visits.repository
    one.feed.due = one.git.due = 0
    poll = threading.Thread(target=one.poll, args=(60,))
    poll.start()
    assert reached.wait(30)
    assert one.compare(60, 600)
    assert visits.journal("staged") == ["c"]
    held.set()
    poll.join(30)
    assert one.has_news and one.due(GIT) == 0
    assert not one.compare(60, 600)
    assert not one.has_news
    assert visits.journal("staged") == ["c"]
    assert visits.journal("superseded") == ["b"]  # told of too late


def test_news_that_git_does_not_let_be_handled_wait(visits, hub, monkeypatch):
    """They are not asked for again, and are not lost."""
    etags = []
    page = hub.page

    def answer(url, etag=""):
        etags.append(etag)
        return page(url)._replace(etag="e", events=None if etag == "e" else hub.events)

    monkeypatch.setattr(hub, "page", answer)
    hub.push(1, MAIN, "a", "b")
    visits.refused = {MAIN}
    for _ in range(3):
        visits.visit()
    assert etags == ["", "e", "e"]
    visits.refused = set()
    assert visits.visit()
    assert visits.journal("staged") == ["b"]
    [build] = (visits.folder).glob("*Z-*/build.json")
    assert json.loads(build.read_text())["source"] == "event"


def test_many_lines_of_one_kind_are_one(visits, hub):
    many = {f"refs/tags/x{i:05}": "b" * 40 for i in range(50_000)}
    hub.heads |= many
    visits.visit()
    size = (visits.folder.parents[1] / "journal.jsonl").stat().st_size
    assert size < 20_000
    hub.heads = {MAIN: "a" * 40}
    visits.visit()
    assert (visits.folder.parents[1] / "journal.jsonl").stat().st_size < 40_000
    assert visits.state["refs"] == {MAIN: "a" * 40}


def test_fifty_thousand_branches_first_seen_are_noted_in_few_lines(visits, hub):
    (visits.folder / "state.json").unlink()
    journal = visits.folder.parents[1] / "journal.jsonl"
    journal.unlink()
    hub.heads = {f"refs/heads/b{i:05}": "a" * 40 for i in range(50_000)}
    visits.restart()
    assert not visits.visit()
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert len(lines) == stager.SINGLY + 1
    assert lines[-1]["count"] == 50_000 - stager.SINGLY
    assert "refs/heads/b" in lines[-1]["why"]
    assert len(visits.state["refs"]) == 50_000


def test_a_remote_that_shows_no_refs_has_lost_none(visits, hub):
    """Not even over some sweeps: nothing is built when they are back."""
    heads, hub.heads = hub.heads, {}
    for _ in range(3):
        assert not visits.visit()
        assert "no branch nor tag any more" in visits.repository.trouble()
    assert visits.state["refs"] == heads
    hub.heads = dict(heads)
    assert not visits.visit()
    assert not visits.repository.trouble()
    assert not list(visits.folder.glob("*Z-*"))


def test_what_another_remote_has_is_noted_and_not_built(visits, hub):
    hub.heads = {MAIN: "b" * 40, OTHER: "c" * 40, "refs/heads/new": "d" * 40}
    visits.document["url"] = "https://github.com/o/elsewhere.git"
    visits.restart()
    for _ in range(2):
        assert not visits.visit()
    assert visits.journal("noted")[-3:] == ["b", "c", "d"]
    assert visits.state["url"] == visits.document["url"]
    hub.push(1, MAIN, "b", "e")
    assert visits.visit()
    assert visits.journal("staged") == ["e"]


def test_the_same_remote_under_another_url_is_the_same(visits, hub):
    """One ref is where it was: what has moved is a push."""
    hub.heads[MAIN] = "b" * 40
    visits.document["url"] = "https://github.com/o/renamed.git"
    visits.restart()
    assert visits.visit()
    assert visits.journal("staged") == ["b"]


def test_what_was_handled_before_one_ref_failed_is_not_repeated(visits, hub):
    """Neither by the next process."""
    hub.push(1, MAIN, "a", "b")
    hub.push(2, MAIN, "b", "c")
    hub.push(3, OTHER, "a", "d")
    visits.refused = {OTHER}
    for _ in range(2):
        visits.visit()
        visits.restart()
    assert visits.journal("superseded") == ["b"]
    assert visits.journal("staged") == ["c"]
    assert visits.state["refs"] == {MAIN: "c" * 40, OTHER: "a" * 40}


def test_a_feed_is_read_in_full_as_seldom_as_many_repositories_want(
    visits, hub, monkeypatch
):
    monkeypatch.setattr(repository, "FULL", 0.0)
    etags = []
    page = hub.page

    def answer(url, etag=""):
        etags.append(etag)
        return page(url)._replace(etag="e")

    monkeypatch.setattr(hub, "page", answer)
    for full in 0, 3600, 0:
        visits.repository.poll(60, full)
    assert etags == ["", "e", ""]


def test_a_feed_that_was_never_read_waits_while_the_quota_is_short(visits, hub):
    hub.short, hub.polls = True, 0
    (visits.folder / "state.json").unlink()
    visits.restart()
    visits.visit()
    assert hub.polls == 0
    hub.short = False
    visits.visit()
    assert hub.polls == 1
