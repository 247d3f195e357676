"""The configuration changes under a poller that runs, in every way a file changes."""

import json
import os
import time

import pytest

from tests.support.server import Answer, Fault, Server
from tests.wrapper.test_reload import PLAIN, config_map

SOON = 2  # seconds from the write until it is in force


@pytest.fixture
def folder(tmp_path):
    """With config.json in it; its builds are beside it."""
    folder = tmp_path / "settings"
    folder.mkdir()
    (folder / "config.json").write_text(text("a/old"))
    return folder


def text(*names, **other):
    document = {"registry": "127.0.0.1:1", "poll": {"interval": 0.1}}
    repositories: dict[str, object] = {name: {} for name in names}
    return json.dumps(document | {"repositories": repositories} | other)


class Reloading:
    """A poller, and how long it takes until it says something new."""

    def __init__(self, poller):
        self.poller = poller
        poller.said("repositories, builds in")

    def says(self, words, since):
        """Waits until words stand in what it says after since, a length of output."""
        self.poller.wait_for(
            lambda: words in self.poller.output[since:], SOON, f"said {words!r}"
        )

    def after(self, change, words):
        since = len(self.poller.output)
        change()
        self.says(words, since)


@pytest.fixture
def reloading(run_poller, tmp_path):
    def start(config, **env):
        builds = str(tmp_path / "builds")
        return Reloading(run_poller(config, BUILDS=builds, **env))

    return start


@pytest.mark.parametrize("way", PLAIN)
def test_a_file_that_changes(folder, reloading, way):
    poller = reloading(folder / "config.json")
    poller.after(lambda: way(folder), "added: b/new; removed: a/old")
    newer = text("b/new", concurrency=3)
    poller.after(
        lambda: (folder / "config.json").write_text(newer), "concurrency: 2 -> 3"
    )


def test_a_mounted_config_map(tmp_path, reloading):
    mount = tmp_path / "mount"
    mount.mkdir()
    config_map(mount, 1, "a/one")
    poller = reloading(mount / "config.json")
    poller.after(lambda: config_map(mount, 2, "b/two"), "added: b/two; removed: a/one")
    poller.after(lambda: config_map(mount, 3, "c/3"), "added: c/3; removed: b/two")


@pytest.mark.parametrize("way", PLAIN)
def test_a_symbolic_link(tmp_path, folder, reloading, way):
    link = tmp_path / "config.json"
    link.symlink_to("settings/config.json")
    poller = reloading(link)
    poller.after(lambda: way(folder), "added: b/new; removed: a/old")
    other = tmp_path / "other.json"
    other.write_text(text("c/other"))

    def point_elsewhere():
        (tmp_path / "link").symlink_to(other)
        (tmp_path / "link").rename(link)

    poller.after(point_elsewhere, "added: c/other; removed: b/new")


def test_a_bad_file_is_told_once_and_the_last_good_one_stays(folder, reloading):
    file = folder / "config.json"
    poller = reloading(file)
    bad = text("b/new", concurency=1)
    words = f'{file}: concurency: unknown, did you mean "concurrency"?'
    poller.after(lambda: file.write_text(bad), words)
    poller.after(lambda: file.write_text("{"), "line 1 column 2")
    poller.after(lambda: file.write_text(text("a/old", "b/new")), "added: b/new\n")
    assert poller.poller.output.count(words) == 1
    assert poller.poller.process.poll() is None


def test_what_is_staged_keeps_its_settings(
    make_repo, configure, reloading, builds, name
):
    tree = make_repo()
    poller = reloading(configure(name))
    poller.poller.said(tree.head[:7])  # seen for the first time: noted, not built

    def settings():
        found = sorted(builds.glob(f"{name}/*Z-*/build.json"))
        return [json.loads(path.read_text())["settings"]["keep"] for path in found]

    tree.commit()
    tree.push()
    poller.poller.wait_for(lambda: settings() == [20])
    poller.after(
        lambda: configure(repositories={name: {"keep": 7}}),
        f"configuration: {name}: keep\n",
    )
    tree.commit()
    tree.push()
    poller.poller.wait_for(lambda: settings() == [20, 7])


def test_a_url(run_poller, tmp_path):
    body = [text("a/old")]
    down: list[int] = []

    def respond(_):
        answer = Answer(503) if down else Answer(200, body[0])
        return answer, Fault("")

    site = Server(0, respond)
    site.start()
    url = f"http://127.0.0.1:{site.server_port}/config.json"
    try:
        env = {"BUILDS": str(tmp_path / "builds")}
        poller = Reloading(run_poller(url, **env))
        poller.after(lambda: body.insert(0, text("b/new")), "added: b/new")
        poller.after(lambda: down.append(1), f"{url}: answered 503")
        poller.poller.stop()
        since = len(poller.poller.output)
        again = run_poller(url, **env)  # it starts while the site is down
        again.said("(the last good copy is used)")
        again.wait_for(lambda: "1 repositories" in again.output[since:])
        poller = Reloading(again)
        body.insert(0, text("c/newer"))
        poller.after(down.clear, "added: c/newer; removed: b/new")
    finally:
        site.stop()


def test_a_poller_that_waits_costs_next_to_nothing(folder, run_poller, github):
    github.poll_interval = 60
    (folder / "config.json").write_text(text("a/old", poll={"interval": 60}))
    poller = run_poller(folder / "config.json", BUILDS=str(folder / "builds"))
    poller.said("repositories, builds in")
    process = f"/proc/{poller.process.pid}"

    def ticks():
        with open(f"{process}/stat") as file:
            return sum(map(int, file.read().rpartition(")")[2].split()[11:13]))

    time.sleep(2)  # it has begun
    before = ticks()
    time.sleep(5)
    assert ticks() - before <= 0.01 * 5 * os.sysconf("SC_CLK_TCK")
    with open(f"{process}/status") as file:
        rss = next(line.split()[1] for line in file if line.startswith("VmRSS:"))
    assert int(rss) <= 60 * 1024
    print(f"{rss} KiB, {ticks() - before} ticks")
