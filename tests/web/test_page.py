"""The page in Debian's chromium: what is red and why, a log as it grows, no stranger.

Pictures of each world are kept in .screenshots.
"""

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import Browser, Tab, browser
from tests.support.parts import wait_for
from tests.support.web import TOKEN, serving
from tests.web.conftest import Folder
from wrapper.builds.directory import now

MESSAGE = "unit-test.sh: npm test failed with exit code 1"
LOG = b"".join(b"line %d\n" % number for number in range(1, 200))


@pytest.fixture(scope="module")
def chromium():
    with browser("--host-resolver-rules=MAP evil.example.com 127.0.0.1") as one:
        yield one


@contextmanager
def held(file: Path) -> Iterator[None]:
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def look(chromium: Browser, url: str, name: str = "", words: str = "Last dozen") -> Tab:
    """Opens it wide and narrow, light and dark; the first of the four."""
    tabs = []
    for width in 1280, 420:
        for dark in False, True:
            tab = chromium.tab(width, dark)
            tab.sign_in(TOKEN)
            tab.open(url)
            tab.shows(words)
            if name:
                tab.picture(f"{name}-{width}-{'dark' if dark else 'light'}")
            wide = tab.run("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} wide of {width}"
            calm(tab, url)
            tabs.append(tab)
    return tabs[0]


def has_title(tab: Tab, begin: str) -> bool:
    return str(tab.run("document.title")).startswith(begin)


def calm(tab: Tab, url: str) -> None:
    """No error in the console, and no byte from anywhere else."""
    base = "/".join(url.split("/")[:3])
    assert tab.console == []
    assert [one for one in tab.asked if not one.startswith(base)] == []


def red(folder: Folder) -> None:
    """A branch that fails in its tests, one by our fault, one that runs, one waits."""
    failing = [{"line": 150, "offset": 1200, "text": "not ok 3 - <b>adds</b>"}]
    about: dict[str, Any] = {"failed_step": "unit-test", "message": MESSAGE}
    about["failing"] = failing
    folder.build(1)
    folder.build(2, "failure", LOG, **about, finished_at=now())
    words = "tag-push.sh: the registry does not answer (is it running?)"
    ours: dict[str, Any] = {
        "failed_step": "tag-push",
        "message": words,
        "finished_at": now(),
    }
    folder.build(3, "error", name="o/other", **ours)
    folder.build(4, None, name="o/third", ref="refs/heads/dev")


def test_what_is_red_and_why_is_seen_first(chromium, folder):
    red(folder)
    running = folder.build(5, None, LOG, name="o/fourth")
    (running.path / "steps").write_text(f"begin\tbuild\t{now()}\t0\n")
    with (
        held(folder.builds / ".lock"),
        held(running.path / "lock"),
        serving(folder.config) as (url, _),
    ):
        tab = look(chromium, f"{url}/", "red")
        assert tab.run("document.title") == "2 red · Builds"
        first = tab.run("document.querySelector('.card').innerText")
        for words in "unit-test failed", MESSAGE, "not ok 3 - <b>adds</b>":
            assert words in first.replace("\n", " ") or words in tab.text
        # All of it is in the first screen: nobody scrolls to learn why.
        bottom = "[...document.querySelectorAll('.card')].at(-1)"
        assert tab.run(f"{bottom}.getBoundingClientRect().bottom") < 900
        assert tab.run("document.querySelectorAll('main b b, .card b').length") == 0
        kinds = "[...document.querySelectorAll('.card')].map((c) => c.className)"
        assert sorted(tab.run(kinds)) == ["card is-error", "card is-failure"]
        for words in "trouble of ours", "its turn comes", "Poller runs":
            assert words in tab.text


def test_a_build_with_its_log_as_it_grows(chromium, folder):
    build = folder.build(1, None, LOG)
    (build.path / "steps").write_text(f"begin\tclone\t{now()}\t0\n")
    with serving(folder.config) as (url, server):
        with held(build.path / "lock"):
            page = f"{url}/builds/o/n/{build.id}"
            tab = look(chromium, page, "running", "line 199")
            assert "No poller runs" in tab.text
            hidden = chromium.tab()
            hidden.sign_in(TOKEN)
            hidden.open(page)
            hidden.shows("line 199")
            hidden.hide(True)
            wait_for(lambda: server.world.followers == 4)
            for number in range(200, 600):
                with (build.path / "console.log").open("ab") as log:
                    log.write(b"line %d\n" % number)
            tab.shows("line 599")
            assert "line 599" not in hidden.text
            hidden.hide(False)
            hidden.shows("line 599")
            failing = [{"line": 300, "offset": 2492, "text": "line 300"}]
            about = {"format": 1, "status": "failure", "failed_step": "clone"}
            about |= {"message": MESSAGE, "failing": failing}
            (build.path / "result.json").write_text(json.dumps(about))
        lines = [f"line {number}" for number in range(1, 600)]
        script = "[...document.querySelectorAll('.line')].map((l) => l.textContent)"
        for one in tab, hidden:
            wait_for(partial(has_title, one, "failure"))
            assert one.run(script) == lines, "a gap, or a repeat"
            calm(one, url)
        wait_for(lambda: server.world.followers == 0)
        tab.run("document.querySelector('.failing a').click()")
        target = "document.querySelector('.target')?.textContent"
        wait_for(lambda: tab.run(target) == "line 300")
        for words in "Build again", MESSAGE, "make clone BUILD=":
            assert words in tab.text
        buttons = "[...document.querySelectorAll('button')]"
        tab.run(f"{buttons}.find((b) => b.textContent === 'Build again').click()")
        tab.shows("no poller runs for")
        look(chromium, page, "failed", MESSAGE)


def test_another_name_for_it_gets_nothing(chromium, folder):
    """A page of another site may have its name lead here: DNS rebinding."""
    folder.build(1)
    with serving(folder.config) as (url, _):
        tab = chromium.tab()
        tab.sign_in(TOKEN)
        tab.open(url.replace("127.0.0.1", "evil.example.com"))
        tab.shows("is no name of this server")
        assert "o/n" not in tab.text


def test_name_and_password_serve_the_page_and_its_live_log(chromium, folder):
    """As when a browser has asked for them: it keeps them for what a page asks."""
    build = folder.build(1, None, LOG)
    with serving(folder.config) as (url, _), held(build.path / "lock"):
        tab = chromium.tab()
        tab.open(url.replace("//", f"//me:{TOKEN}@"))
        tab.shows("Last dozen")
        tab.run(f"location.href = '{url}/builds/o/n/{build.id}'")
        tab.shows("line 199")
        with (build.path / "console.log").open("ab") as log:
            log.write(b"one more\n")
        tab.shows("one more")
        assert tab.console == []


@pytest.mark.more
def test_a_hostile_log_is_text(chromium, folder):
    evil = b"<script>document.title='owned'</script>\x1b]0;t\x07\x1b[31mred\x1b[0m\n"
    evil += b"<img src=x onerror=alert(1)>\r\n50 %\r100 %\n\x1b]8;;http://x\x07link"
    build = folder.build(1, "failure", evil, message="<i>no</i>")
    with serving(folder.config) as (url, _):
        tab = chromium.tab()
        tab.sign_in(TOKEN)
        tab.open(f"{url}/builds/o/n/{build.id}")
        tab.shows("100 %")
        script = "[...document.querySelectorAll('.line')].map((l) => l.textContent)"
        assert tab.run(script) == [
            "<script>document.title='owned'</script>red",
            "<img src=x onerror=alert(1)>",
            "100 %",
            "link",
        ]
        assert tab.run("document.querySelectorAll('img, main i').length") == 0
        calm(tab, url)


@pytest.mark.more
def test_a_world_without_builds(chromium, folder):
    with held(folder.builds / ".lock"), serving(folder.config) as (url, _):
        tab = look(chromium, f"{url}/", "empty")
        assert "docker-build-server trigger o/n" in tab.text
    folder.configure()
    with serving(folder.config) as (url, _):
        look(chromium, f"{url}/", "", "No repository yet")


@pytest.mark.more
def test_what_waits_and_for_what(chromium, folder):
    """Each of the reasons for which nothing starts, the next above the last."""
    names = ["o/n", "o/other", "o/third", "o/a-name-that-is-longer-than-most-are"]
    folder.configure(*names, concurrency=2)
    running = [folder.build(1, None, LOG), folder.build(2, None, LOG, name="o/third")]
    long = "refs/heads/feature/a-branch-whose-name-is-a-sentence-without-a-blank"
    folder.build(3, None)
    folder.build(4, None, ref=long)
    folder.build(5, None, name="o/other")
    folder.build(6, None, name=names[3], ref=long)
    (folder.builds / "o/other/.pause").touch()

    rows = "[...document.querySelectorAll('.row .why')].map((r) => r.textContent)"
    after = f"after {running[0].id}, which runs: one at a time of a repository"
    full = '2 builds run, as many as "concurrency" allows'
    with serving(folder.config) as (url, _):
        with held(folder.builds / ".lock"):
            with held(running[0].path / "lock"), held(running[1].path / "lock"):
                tab = look(chromium, f"{url}/", "waiting")
                assert tab.run("document.title") == "2 running · Builds"
                paused = "this repository is paused"
                assert tab.run(rows) == [after, after, paused, full]
            # Both have ended without a result: they are to go on, and wait too.
            tab.shows("its turn comes")
            wait_for(partial(has_title, tab, "6 waiting"))
            trouble = "registry: 127.0.0.1:5000 does not answer (is it running?)"
            about = {"format": 1, "host": [trouble], "repositories": {}}
            (folder.builds / ".health.json").write_text(json.dumps(about))
            look(chromium, f"{url}/", "held", f"Nothing starts: {trouble}")
            (folder.builds / ".pause").touch()
            tab.shows("Paused: pushes are recorded, nothing starts")
            assert set(tab.run(rows)) == {"all builds are paused"}
        tab.shows("No poller runs")
        assert set(tab.run(rows)) == {"no poller runs"}
        calm(tab, url)


@pytest.mark.more
def test_five_hundred_repositories(chromium, folder):
    names = [f"o{n % 20}/r{n}" for n in range(500)]
    for number, name in enumerate(names):
        for build in range(3):
            folder.build(3 * number + build, name=name)
    folder.configure(*names)
    with held(folder.builds / ".lock"), serving(folder.config) as (url, _):
        tab = look(chromium, f"{url}/", "many")
        count = (
            "[...document.querySelectorAll('tbody tr')].filter((r) => !r.hidden).length"
        )
        assert tab.run(count) == 500
        tab.run(
            "(() => { const box = document.getElementById('filter'); box.value = 'R49';"
            " box.dispatchEvent(new Event('input')) })()"
        )
        assert tab.run(count) == 11


@pytest.mark.more
def test_eight_tabs_of_a_log_and_one_more(chromium, folder):
    """A browser has six connections to a host; hidden tabs give theirs back."""
    build = folder.build(1, None, LOG)
    with serving(folder.config) as (url, server), held(build.path / "lock"):
        tabs: list[Tab] = []
        for _ in range(8):
            if tabs:
                tabs[-1].hide(True)
            tab = chromium.tab()
            tab.sign_in(TOKEN)
            tab.open(f"{url}/builds/o/n/{build.id}")
            tab.shows("line 199")
            tabs.append(tab)
        wait_for(lambda: server.world.followers == 1)
        with (build.path / "console.log").open("ab") as log:
            log.write(b"the last\n")
        tabs[-1].shows("the last")
        tabs[-1].hide(True)
        tabs[0].hide(False)
        tabs[0].shows("the last")


@pytest.mark.more
def test_the_description_can_be_read(chromium, folder):
    with serving(folder.config) as (url, _):
        tab = look(chromium, f"{url}/api", "api", "Steps by hand")
        assert 'curl -sS -u "me:$TOKEN" -X POST --json' in tab.text
        assert f"{url}/api/v1/stages" in tab.text


@pytest.mark.more
def test_the_server_comes_and_goes(chromium, folder):
    build = folder.build(1, None, LOG)
    with serving(folder.config) as (url, _):
        tab = chromium.tab()
        tab.sign_in(TOKEN)
        tab.open(f"{url}/builds/o/n/{build.id}")
        tab.shows("line 199")
    with (build.path / "console.log").open("ab") as log:
        log.write(b"while it was away\n")
    wait_for(lambda: "away" in tab.run("document.body.className"), 60)
    time.sleep(0.1)
    with serving(folder.config, port=int(url.rpartition(":")[2])):
        tab.shows("while it was away")
        script = "[...document.querySelectorAll('.line')].length"
        assert tab.run(script) == 200
        wait_for(lambda: "away" not in tab.run("document.body.className"), 60)
