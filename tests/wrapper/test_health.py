"""Is the poller well? As another process sees it."""

import json
import re
import time
from typing import Any

import pytest

from tests.support.parts import wait_for
from wrapper.builds.lock import lock
from wrapper.commands import health
from wrapper.config import load as config


@pytest.fixture
def ask(configure, builds, capsys):
    """ask(**seen) -> code and words, for the one repository of the configuration."""

    def ask(running=True, **seen):
        builds.mkdir(exist_ok=True)
        poll = {"interval": 10, "sweep": 100}
        settings = config.load(str(configure("o/n", poll=poll)))
        now = time.time()
        good: dict[str, Any] = {
            "asked": now,
            "compared": now,
            "interval": 10,
            "trouble": "",
        }
        good |= {"lag": None, "untold": 0}
        about = {"repositories": {"o/n": good | seen}}
        (builds / ".health.json").write_text(json.dumps(about))
        if not running:
            code = health.run(settings)
        else:
            with lock(builds / ".lock"):
                code = health.run(settings)
        return code, capsys.readouterr().out.strip()

    return ask


def test_all_is_well(ask):
    code, words = ask()
    assert code == 0 and re.fullmatch(r"o/n: ok, asked \d s ago", words)
    assert ask(lag=12.4)[1].endswith("the last push was staged after 12 s")


def test_no_poller_runs(ask):
    code, words = ask(running=False)
    assert code == 1 and words.startswith("no poller runs for")


@pytest.mark.parametrize(
    "ago, code", [(20, 0), (31, 1)], ids=["patience", "no more of it"]
)
def test_three_intervals_without_an_answer(ask, ago, code):
    found, words = ask(asked=time.time() - ago)
    assert found == code
    said = re.search(r"events were last asked with success 3\d s ago", words)
    assert bool(said) == bool(code)


def test_git_was_not_compared_for_three_sweeps(ask):
    assert ask(compared=time.time() - 290)[0] == 0
    code, words = ask(compared=time.time() - 301, trouble="git cannot read it")
    assert code == 1
    assert re.search(r"git was last asked with success 30\d s ago; git cannot", words)


def test_git_shows_what_the_events_do_not(ask):
    assert ask(untold=time.time() - 290)[0] == 0
    code, words = ask(untold=time.time() - 301)
    assert code == 1 and "a push for 30" in words and "no event tells of" in words


def test_a_feed_that_stands_still_is_seen_and_that_it_goes_on(
    make_repo, configure, run_poller, name, github
):
    tree = make_repo()
    path = configure(name, poll={"interval": 0.1, "sweep": 0.2})
    settings = config.load(str(path))
    poller = run_poller(path)
    poller.wait_for(lambda: health.run(settings) == 0)
    github.hold(name)
    tree.commit()
    tree.push()
    poller.wait_for(lambda: health.run(settings) == 1)
    github.release(name)
    poller.wait_for(lambda: health.run(settings) == 0)


def test_trouble_is_told_before_it_lasts(ask):
    assert ask(trouble="GitHub answers 500") == (1, "o/n: GitHub answers 500")


def test_what_a_newer_poller_wrote(ask, builds, configure, capsys):
    ask()
    (builds / ".health.json").write_text('{"format": 2}')
    with lock(builds / ".lock"):
        assert health.run(config.load(str(configure("o/n")))) == 1
    assert "written by a newer version, as format 2" in capsys.readouterr().out


def test_never_asked(ask, builds, configure, capsys):
    assert "last asked with success never" in ask(asked=0)[1]
    settings = config.load(str(configure("o/new")))
    with lock(builds / ".lock"):
        assert health.run(settings) == 1
    assert capsys.readouterr().out == "o/new: not asked yet\n"


def test_a_stretched_interval_counts(ask):
    assert ask(asked=time.time() - 100, interval=60.0)[0] == 0


def test_a_poller_that_runs(make_repo, configure, run_poller, builds, name, github):
    make_repo()
    path = configure(name)
    settings = config.load(str(path))
    poller = run_poller(path)
    poller.wait_for(lambda: health.run(settings) == 0)
    github.fault("/events", times=-1, status=500)
    poller.wait_for(lambda: health.run(settings) == 1)
    github.faults.clear()
    poller.wait_for(lambda: health.run(settings) == 0)
    poller.kill()
    wait_for(lambda: health.run(settings) == 1)


def test_a_repository_without_events_is_well_by_its_comparisons(ask):
    now = time.time()
    none = {"asked": None, "sweep": 10, "interval": 60}
    code, words = ask(**none, compared=now - 20)
    assert code == 0 and re.fullmatch(r"o/n: ok, asked 2\d s ago", words)
    code, words = ask(**none, compared=now - 31)
    assert code == 1 and "git was last asked with success" in words


def test_what_else_it_knows(ask, builds, configure, capsys):
    code, words = ask(unmatched=True)
    assert code == 1 and '"branches" and "tags" match nothing that git has' in words
    assert ask()[0] == 0
    document = json.loads((builds / ".health.json").read_text())
    about = {"host": ["docker engine: gone"], "statuses": "o/n: 403"}
    (builds / ".health.json").write_text(json.dumps(document | about))
    (builds / ".pause").touch()
    with lock(builds / ".lock"):
        assert health.run(config.load(str(configure("o/n")))) == 1
    said = capsys.readouterr().out
    assert "nothing starts: docker engine: gone" in said
    assert "commit statuses are refused: o/n: 403" in said
    assert "everything is paused (docker-build-server resume)" in said
