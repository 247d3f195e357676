"""config.json over HTTP: one of two writers wins, and half of it is never seen."""

import json
import signal
import subprocess
import sys
import threading
import time

from tests.support.parts import ROOT
from tests.support.web import TOKEN, Api, serving
from wrapper.config.load import load
from wrapper.web import configuration


def put(api, content, etag=None, query=""):
    headers = {"Content-Type": "application/json"} | (
        {"If-Match": etag} if etag else {}
    )
    return api("PUT", f"/config{query}", data=content, headers=headers)


def test_it_is_read_changed_and_kept(api, folder):
    folder.config.chmod(0o640)
    got = api.get("/config")
    assert got.content == folder.config.read_bytes()
    etag = got.headers["ETag"]
    assert api.get("/config", headers={"If-None-Match": etag}).status_code == 304
    new = got.content.replace(b'"o/other"', b'"o/third"')
    answer = put(api, new, etag)
    assert answer.status_code == 200, answer.text
    changed = {"added": ["o/third"], "removed": ["o/other"], "changed": []}
    assert answer.json() == {"format": 1} | changed
    assert folder.config.read_bytes() == new
    assert folder.config.stat().st_mode & 0o777 == 0o640
    assert (folder.builds / ".config.before.json").read_bytes() == got.content
    assert api.get("/config").headers["ETag"] == answer.headers["ETag"]
    [line] = (folder.builds / "journal.jsonl").read_text().splitlines()
    assert json.loads(line)["what"] == "configured"
    assert json.loads(line)["why"].startswith("by me@127.0.0.1: added: o/third")
    assert [r["name"] for r in api.get("/repositories").json()["repositories"]] == [
        "o/n",
        "o/third",
    ]


def test_two_with_one_etag(api, folder, monkeypatch):
    keep = configuration._keep

    def keep_slowly(*arguments):
        time.sleep(0.2)  # long enough for the others to have come this far
        keep(*arguments)

    monkeypatch.setattr(configuration, "_keep", keep_slowly)
    got = api.get("/config")
    codes = []
    contents = [got.content.replace(b"o/other", b"o/%d" % n) for n in range(8)]

    def run(content):
        with Api(api.url) as other:
            codes.append(put(other, content, got.headers["ETag"]).status_code)

    threads = [threading.Thread(target=run, args=(c,)) for c in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200] + [412] * 7
    assert folder.config.read_bytes() in contents
    assert put(api, got.content).status_code == 428


def test_every_problem_is_told_by_its_path(api, folder):
    before = folder.config.read_bytes()
    wrong = {"registry": "x", "repositories": {"o/n": {"branchs": [], "keep": "a"}}}
    answer = put(api, json.dumps(wrong), "*")
    assert answer.status_code == 422
    paths = [error["path"] for error in answer.json()["errors"]]
    assert sorted(paths) == [
        "registry",
        'repositories."o/n".branchs',
        'repositories."o/n".keep',
    ]
    assert put(api, b"{", "*").status_code == 422
    assert folder.config.read_bytes() == before


def test_a_dry_run_changes_nothing(api, folder):
    before = folder.config.read_bytes()
    new = before.replace(b'"o/n": {}', b'"o/n": {"keep": 3}')
    answer = put(api, new, query="?dry_run=1")
    assert answer.json()["changed"] == ["o/n"]
    assert folder.config.read_bytes() == before


def test_a_link_stays_one(folder, tmp_path):
    target = tmp_path / "elsewhere.json"
    folder.config.rename(target)
    folder.config.symlink_to(target)
    with serving(folder.config) as (url, _), Api(url) as api:
        got = api.get("/config")
        new = got.content.replace(b"o/other", b"o/third")
        assert put(api, new, got.headers["ETag"]).status_code == 200
    assert folder.config.is_symlink()
    assert target.read_bytes() == new


def test_where_it_lives_elsewhere(folder, tmp_path, monkeypatch):
    content = folder.config.read_bytes()
    mount = tmp_path / "mount"
    (mount / "..2026").mkdir(parents=True)
    (mount / "..2026/config.json").write_bytes(content)
    (mount / "..data").symlink_to("..2026")
    (mount / "config.json").symlink_to("..data/config.json")
    monkeypatch.setenv("BUILDS", str(folder.builds))
    token = folder.config.with_name("token")
    token.write_text(TOKEN)
    token.chmod(0o600)
    (folder.builds / "config.json").write_bytes(content)  # as the poller keeps it
    url = "https://example.com/config.json"
    for where, words in (mount / "config.json", "ConfigMap"), (url, f"lives at {url}"):
        with serving(where, token_file=token) as (server, _), Api(server) as api:
            assert api.get("/config").content == content
            answer = put(api, content, "*")
            assert answer.status_code == 409
            assert words in answer.json()["detail"]


def test_killed_in_the_write_it_is_one_or_the_other(folder, tmp_path):
    """The process is stopped at each moment between two system calls of it."""
    before = folder.config.read_bytes()
    new = before.replace(b"o/other", b"o/third")
    script = (
        "import os, sys, pathlib\n"
        "from wrapper.web import configuration as c\n"
        "real, calls = os.fsync, []\n"
        "at = sys.argv[3]\n"
        "def die(*_): os.kill(os.getpid(), 9)\n"
        "if at == 'write': os.fchmod = die\n"
        "if at == 'sync': os.fsync = die\n"
        "if at == 'rename': pathlib.Path.replace = die\n"
        "config, new = map(pathlib.Path, sys.argv[1:3])\n"
        "c._replace(config, new.read_bytes())\n"
    )
    source = tmp_path / "new.json"
    source.write_bytes(new)
    for at in "write", "sync", "rename", "never":
        command = [sys.executable, "-c", script, folder.config, source, at]
        done = subprocess.run(command, cwd=ROOT)
        assert done.returncode == (0 if at == "never" else -signal.SIGKILL)
        assert folder.config.read_bytes() == (new if at == "never" else before)
        load(str(folder.config))


def test_a_folder_that_is_closed(api, folder, monkeypatch):
    def closed(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(configuration, "_replace", closed)
    answer = put(api, folder.config.read_bytes(), "*")
    assert answer.status_code == 409
    assert "cannot be written: Permission denied" in answer.json()["detail"]


def test_the_schema_is_served_as_it_is(api):
    schema = api.get("/config/schema").json()
    assert schema == json.loads((ROOT / "wrapper/config.schema.json").read_text())
