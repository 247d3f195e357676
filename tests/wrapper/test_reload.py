import json
import os
import queue
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.server import Answer, Fault, Server
from wrapper.config import files, source
from wrapper.config import load as config
from wrapper.config import reload as watch
from wrapper.config.load import ConfigError

ROOT = Path(__file__).resolve().parent.parent.parent
SOON = 2  # seconds in which a change must be in force


def text(*names, **keys):
    document = {"registry": "127.0.0.1:5000", "repositories": {n: {} for n in names}}
    return json.dumps(document | keys)


class Watched:
    """A started watch, with what it called back; leaves() says what came, once."""

    def __init__(self, name):
        self.heard: queue.Queue[str] = queue.Queue()
        self.watch = watch.ConfigWatch(
            str(name),
            lambda new: self.heard.put(",".join(new.repositories)),
            lambda reason: self.heard.put(f"error: {reason}"),
        )

    def __enter__(self):
        self.first = ",".join(self.watch.start().repositories)
        return self

    def __exit__(self, *_):
        self.watch.stop()

    def next(self, timeout=SOON):
        return self.heard.get(timeout=timeout)

    def silent(self, seconds=0.7):
        with pytest.raises(queue.Empty):
            pytest.fail(self.heard.get(timeout=seconds))
        return True


# Each way has a folder (made by lay_out) and makes the change to "b/new".


def in_place(folder):
    (folder / "config.json").write_text(text("b/new"))


def in_pieces(folder):
    with (folder / "config.json").open("w") as file:
        for piece in text("b/new").partition(","):
            file.write(piece)
            file.flush()
            time.sleep(0.1)


def replaced(folder):
    (folder / "new").write_text(text("b/new"))
    (folder / "new").replace(folder / "config.json")


def moved_in(folder):
    (folder.parent / "new").write_text(text("b/new"))
    (folder.parent / "new").replace(folder / "config.json")


def with_a_backup(folder):  # vim
    (folder / "config.json").rename(folder / "config.json~")
    in_place(folder)
    (folder / "config.json~").unlink()


def sed(folder):
    subprocess.run(["sed", "-i", "s,a/old,b/new,", folder / "config.json"], check=True)


def deleted_and_made(folder):
    (folder / "config.json").unlink()
    in_place(folder)


def folder_deleted_and_made(folder):
    shutil.rmtree(folder)
    folder.mkdir()
    in_place(folder)


def folder_replaced(folder):
    folder.rename(folder.parent / "before")
    folder.mkdir()
    in_place(folder)


PLAIN = [
    in_place,
    in_pieces,
    replaced,
    moved_in,
    with_a_backup,
    sed,
    deleted_and_made,
    folder_deleted_and_made,
    folder_replaced,
]


@pytest.fixture
def plain(tmp_path):
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "config.json").write_text(text("a/old"))
    return folder


@pytest.mark.parametrize("way", PLAIN)
def test_a_file_that_changes(plain, way):
    with Watched(plain / "config.json") as watched:
        assert watched.first == "a/old"
        way(plain)
        assert watched.next() == "b/new"
        assert watched.silent()
        (plain / "config.json").write_text(text("c/newer"))  # it is still watched
        assert watched.next() == "c/newer"


def config_map(folder, number, name):
    """What Kubernetes does to a mounted ConfigMap."""
    (folder / f"..{number}").mkdir()
    (folder / f"..{number}/config.json").write_text(text(name))
    (folder / "..data_tmp").symlink_to(f"..{number}")
    (folder / "..data_tmp").rename(folder / "..data")
    if not (folder / "config.json").is_symlink():
        (folder / "config.json").symlink_to("..data/config.json")
    if (folder / f"..{number - 1}").exists():
        shutil.rmtree(folder / f"..{number - 1}")


def test_a_mounted_config_map(tmp_path):
    config_map(tmp_path, 1, "a/old")
    with Watched(tmp_path / "config.json") as watched:
        assert watched.first == "a/old"
        for number, name in enumerate(["b/new", "c/newer", "d/newest"], start=2):
            config_map(tmp_path, number, name)
            assert watched.next() == name
            assert watched.silent()


def test_a_symbolic_link_to_a_file_elsewhere(tmp_path, plain):
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(text("d/other"))
    home = tmp_path / "home"
    home.mkdir()
    link = home / "config.json"
    link.symlink_to(plain / "config.json")
    with Watched(link) as watched:
        for way in in_place, replaced, deleted_and_made, folder_deleted_and_made:
            way(plain)
            assert watched.next() == "b/new", way
            (plain / "config.json").write_text(text("a/old"))
            assert watched.next() == "a/old", way
        (home / "link").symlink_to(other / "config.json")
        (home / "link").rename(link)
        assert watched.next() == "d/other"
        in_place(plain)
        assert watched.silent()
        in_place(other)
        assert watched.next() == "b/new"


def test_a_symbolic_link_to_the_folder(tmp_path, plain):
    (tmp_path / "next").mkdir()
    (tmp_path / "next/config.json").write_text(text("b/new"))
    (tmp_path / "current").symlink_to("plain")
    with Watched(tmp_path / "current/config.json") as watched:
        assert watched.first == "a/old"
        (tmp_path / "link").symlink_to("next")
        (tmp_path / "link").rename(tmp_path / "current")
        assert watched.next() == "b/new"
        replaced(tmp_path / "next")
        assert watched.silent()
        (tmp_path / "next/config.json").write_text(text("c/newer"))
        assert watched.next() == "c/newer"


def test_a_path_relative_to_the_current_directory(plain, monkeypatch):
    monkeypatch.chdir(plain)
    with Watched("config.json") as watched:
        replaced(plain)
        assert watched.next() == "b/new"


def test_a_bad_file_is_told_once_and_the_last_good_one_stays(plain):
    file = plain / "config.json"
    with Watched(file) as watched:
        file.write_text(text("b/new", concurency=1))
        assert watched.next() == f"error: {file}: concurency: unknown, " + (
            'did you mean "concurrency"?'
        )
        file.write_text(text("c/newer", concurency=1))
        file.touch()
        assert watched.silent()
        file.unlink()
        assert f"{file}: cannot be read: No such file" in watched.next()
        file.write_text(text("a/old"))  # what is in force already, but good again
        assert watched.next() == "a/old"
        file.write_text(text("a/old") + "\n")  # nothing that counts
        assert watched.silent()


def test_a_bad_file_at_the_start_is_an_error(plain):
    (plain / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="line 1 column 2"):
        Watched(plain / "config.json").__enter__()


def test_a_system_that_watches_no_more_is_an_error(plain, monkeypatch):
    def refuse():
        raise OSError("inotify instance limit reached")

    monkeypatch.setattr(files, "Observer", refuse)
    with pytest.raises(ConfigError, match="cannot be watched: inotify instance limit"):
        Watched(plain / "config.json").__enter__()


def test_reading_wakes_nobody(plain, monkeypatch):
    looks, read = [], source.read

    def counted(name):
        looks.append(name)
        return read(name)

    monkeypatch.setattr(source, "read", counted)
    with Watched(plain / "config.json") as watched:
        in_place(plain)
        assert watched.next() == "b/new"
        watched.silent()
        before = len(looks)
        for _ in range(3):
            (plain / "config.json").read_text()
        watched.silent(1.5)
        assert len(looks) == before


def test_what_happens_around_the_start_is_not_missed(plain):
    for number in range(5):
        (plain / "config.json").write_text(text("a/old"))
        with Watched(plain / "config.json") as watched:
            (plain / "config.json").write_text(text(f"b/{number}"))
            assert watched.next() == f"b/{number}"


def test_a_busy_folder_holds_nothing_up(plain):
    with Watched(plain / "config.json") as watched:
        in_place(plain)
        end = time.monotonic() + SOON
        while watched.heard.empty() and time.monotonic() < end:
            (plain / "noise").write_text("x")
            time.sleep(0.05)
        assert watched.next(0) == "b/new"


class Site:
    """Serves one file with an ETag; its url, and what was asked with which ETag."""

    def __init__(self, body):
        self.body = body
        self.asked: queue.Queue[str | None] = queue.Queue()
        self._server = Server(0, self._respond)
        self.url = f"http://127.0.0.1:{self._server.server_port}/config.json"
        self._server.start()
        self.status = 200

    def _respond(self, request):
        etag = f'"{hash(self.body)}"'
        self.asked.put(request.headers.get("if-none-match"))
        if self.status != 200:
            return Answer(self.status, "<html>"), Fault("")
        if request.headers.get("if-none-match") == etag:
            return Answer(304), Fault("")
        return Answer(200, self.body, {"ETag": etag}), Fault("")

    def stop(self):
        self._server.stop()


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setenv("BUILDS", str(tmp_path / "builds"))
    site = Site(text("a/old", poll={"interval": 0.1}))
    yield site
    site.stop()


def test_a_url_is_asked_again_with_its_etag(site, tmp_path):
    with Watched(site.url) as watched:
        assert watched.first == "a/old"
        etags = [site.asked.get(timeout=SOON) for _ in range(5)]
        assert etags[:2] == [None, None]  # at the start, and the first time after
        assert etags[2] is not None
        assert etags[2] == etags[4]
        site.body = text("b/new", poll={"interval": 0.1})
        assert watched.next() == "b/new"
        assert (tmp_path / "builds/config.json").read_text() == site.body
        good, site.body = site.body, "{"
        assert watched.next().startswith(f"error: {site.url}: line 1 column 2")
        assert (tmp_path / "builds/config.json").read_text() == good
        site.body = good
        assert watched.next() == "b/new"
        site.status = 503
        assert watched.next() == f"error: {site.url}: answered 503 Service Unavailable"
        assert watched.silent()
        site.status = 200
        assert watched.next() == "b/new"


def test_the_last_good_copy_counts_while_the_site_is_down(site, tmp_path):
    site.status = 503
    with pytest.raises(ConfigError, match="answered 503"):
        config.load(site.url)
    site.status = 200
    with Watched(site.url):
        pass
    for wrong in 503, 200:
        site.status, site.body = wrong, "{"
        with Watched(site.url) as watched:
            assert watched.first == "a/old"
            assert "(the last good copy is used)" in watched.next()
            assert watched.watch._config.builds == tmp_path / "builds"
    site.status, site.body = 200, text("b/new")
    with Watched(site.url) as watched:
        assert watched.first == "b/new"


def test_a_builds_folder_that_cannot_be_written_keeps_no_copy(site):
    builds = Path(os.environ["BUILDS"])
    builds.write_text("a file in its place")
    assert config.load(site.url).registry
    site.status = 503
    with pytest.raises(ConfigError, match="answered 503"):
        config.load(site.url)
    assert builds.read_text() == "a file in its place"


def test_a_url_needs_a_builds_folder_and_a_sane_size(site, monkeypatch):
    site.body = text("a/old") + " " * (1 << 20)
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        config.load(site.url)
    site.body = text("a/old")
    monkeypatch.delenv("BUILDS")
    with pytest.raises(ConfigError, match="needs BUILDS in the environment"):
        config.load(site.url)


def test_watch_file_calls_back_for_that_file_alone(tmp_path):
    woken: queue.Queue[int] = queue.Queue()
    observer = files.watch_file(tmp_path / ".wake", lambda: woken.put(1))
    try:
        (tmp_path / "journal").write_text("x")
        (tmp_path / "o").mkdir()
        (tmp_path / "o/.wake").touch()
        with pytest.raises(queue.Empty):
            woken.get(timeout=0.5)
        for _ in range(2):
            subprocess.run(["touch", tmp_path / ".wake"], check=True)
            woken.get(timeout=SOON)
            time.sleep(0.1)
            while not woken.empty():
                woken.get()
    finally:
        observer.stop()
        observer.join()


def test_on_the_way_is_every_link_the_file_and_its_folder(tmp_path):
    (tmp_path / "real/deep").mkdir(parents=True)
    (tmp_path / "real/deep/file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "home").symlink_to("link/deep/../deep")
    (tmp_path / "loop").symlink_to("loop")

    def way(name):
        return {
            p[len(f"{tmp_path}/") :] for p in files.on_the_way(f"{tmp_path}/{name}")
        }

    assert way("real/deep/file") == {"real/deep", "real/deep/file"}
    assert way("home/file") == {"home", "link", "real/deep", "real/deep/file"}
    assert way("real/gone/file") == {"real", "real/gone"}
    assert way("loop") == {"", "loop"}


def test_changes_are_one_line(tmp_path):
    file = tmp_path / "config.json"

    def loaded(repositories, **keys):
        file.write_text(text(repositories=repositories, **keys))
        return config.load(str(file))

    old = loaded({"a/a": {}, "b/b": {}, "c/c": {}})
    new = loaded({"a/a": {}, "b/b": {"keep": 3}, "d/d": {}, "e/e": {}})
    assert watch.changes(old, new) == "added: d/d, e/e; removed: c/c; b/b: keep"
    more = loaded({"a/a": {}}, concurrency=3, registry="ghcr.io", disk_free_min=0)
    assert set(watch.changes(loaded({"a/a": {}}), more).split("; ")) == {
        "concurrency: 2 -> 3",
        "registry: 127.0.0.1:5000 -> ghcr.io",
        "disk_free_min: 2147483648 -> 0",
    }
    assert watch.changes(old, old) == "nothing changed"


def test_a_waiting_watch_costs_next_to_nothing(plain):
    program = """
import os, re, sys, time
from pathlib import Path
from wrapper.config.files import watch_file
from wrapper.config.reload import ConfigWatch
watch = ConfigWatch(sys.argv[1], print, print)
watch.start()
watch_file(Path(sys.argv[1]).with_name(".wake"), print)
time.sleep(1)
before = time.process_time()
time.sleep(3)
print(time.process_time() - before)
print(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
sys.stdout.flush()
os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, plain / "config.json"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, kibibytes = map(float, done.stdout.split())
    assert seconds < 0.03
    assert kibibytes < 40 * 1024
