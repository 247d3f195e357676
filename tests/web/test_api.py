"""Each call over a real connection; every answer is held to openapi.json."""

import fcntl
import json

import pytest
from openapi_spec_validator import validate

from tests.support.parts import ROOT
from tests.support.web import SPEC, Api, serving
from wrapper.web.app import CALLS


def test_every_call_is_in_the_description_and_the_other_way_round():
    served = {(call.method, call.path.replace(":path", "")) for call in CALLS}
    known = {
        (method.upper(), path)
        for path, methods in SPEC["paths"].items()
        for method in methods
    }
    assert served == known
    for call in CALLS:
        path = call.path.replace(":path", "")
        about = SPEC["paths"][path][call.method.lower()]
        assert about.get("x-right", "") == call.right


def test_the_description_is_valid_openapi():
    file = ROOT / "wrapper/web/openapi.json"
    text = file.read_text().replace('"config/schema"', '"../config.schema.json"')
    validate(json.loads(text), base_uri=file.as_uri())


def test_the_newest_builds_page_by_page(api, folder):
    for number in range(5):
        folder.build(number)
    first = api.get("/builds?limit=2")
    assert [b["id"][20:22] for b in first.json()["builds"]] == ["04", "03"]
    url = first.links["next"]["url"].removeprefix("/api/v1")
    second = api.get(url)
    assert [b["id"][20:22] for b in second.json()["builds"]] == ["02", "01"]
    last = api.get(second.links["next"]["url"].removeprefix("/api/v1"))
    assert len(last.json()["builds"]) == 1
    assert "Link" not in last.headers


def test_a_list_that_is_known_is_not_sent_again(api, folder):
    folder.build(1)
    etag = api.get("/builds").headers["ETag"]
    assert api.get("/builds", headers={"If-None-Match": etag}).status_code == 304
    folder.build(2)
    assert api.get("/builds", headers={"If-None-Match": etag}).status_code == 200


@pytest.mark.parametrize(
    "query, numbers",
    [
        ("ref=dev", "2"),
        ("ref=refs/heads/dev", "2"),
        ("status=failure", "1"),
        ("source=manual", "3"),
        ("repository=o/other", "4"),
        ("commit=1a2b", "4321"),
        ("commit=1a2c", ""),
    ],
)
def test_builds_are_filtered(api, folder, query, numbers):
    folder.build(1, "failure", failed_step="build", message="build.sh: no")
    folder.build(2, ref="refs/heads/dev")
    folder.build(3, source="manual")
    folder.build(4, name="o/other")
    found = api.get(f"/builds?{query}").json()["builds"]
    assert [b["id"][21] for b in found] == list(numbers)


@pytest.mark.parametrize(
    "query, words",
    [
        ("limt=3", 'limt: unknown, did you mean "limit"?'),
        ("limit=101", "limit: must be from 1 to 100"),
        ("before=x", "before: must be a build's ID"),
        ("commit=1a2", "commit: must have 4 or more digits"),
    ],
)
def test_a_wrong_query_is_refused_in_words(api, query, words):
    assert api.is_problem(422, "GET", f"/builds?{query}")["detail"] == words


def test_one_build_with_its_steps(api, folder):
    build = folder.build(1, None, b"== clone\nall of it\n== build\nhalf")
    (build.path / "steps").write_text(
        "begin\tclone\t2026-11-22T05:10:01.000000Z\t9\n"
        "end\tclone\t2026-11-22T05:10:02.000000Z\tsuccess\t1.000000\t1\t19\n"
        "begin\tbuild\t2026-11-22T05:10:02.000000Z\t28\n"
    )
    with (build.path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = api.get(f"/builds/o/n/{build.id}").json()
        latest = api.get("/builds/o/n/latest").json()
    assert found["summary"]["status"] == "running"
    assert found["step"] == found["summary"]["step"] == "build"
    assert [s["name"] for s in found["steps"]] == ["clone", "build"]
    assert found["steps"][0]["seconds"] == 1
    assert latest["summary"]["id"] == build.id
    log = api.get(f"/builds/o/n/{build.id}/log?step=clone")
    assert log.text == "all of it\n"
    assert api.get(f"/builds/o/n/{build.id}/log?step=build").text == "half"


def test_a_log_in_ranges(api, folder):
    build = folder.build(1, "failure", b"0123456789")
    path = f"/builds/o/n/{build.id}/log"
    whole = api.get(path)
    assert (whole.content, whole.headers["X-Build-Status"]) == (
        b"0123456789",
        "failure",
    )
    for asked, got, where in (
        ("-4", b"6789", "6-9"),
        ("2-3", b"23", "2-3"),
        ("8-", b"89", "8-9"),
        ("5-99", b"56789", "5-9"),
    ):
        part = api.get(path, headers={"Range": f"bytes={asked}"})
        assert (part.status_code, part.content) == (206, got)
        assert part.headers["Content-Range"] == f"bytes {where}/10"
    over = {"headers": {"Range": "bytes=10-"}}
    assert api.is_problem(416, "GET", path, **over)["detail"] == "the log has 10 bytes"
    head = api("HEAD", path)
    assert head.headers["Content-Length"] == "10"


def test_what_is_pruned_is_gone_and_what_never_was_is_unknown(api, folder):
    build = folder.build(1)
    line = {"time": "2026-11-22T05:11:00Z", "repository": "o/n", "what": "finished"}
    (folder.builds / "journal.jsonl").write_text(
        json.dumps(line | {"build": build.id}) + "\n"
    )
    for file in build.path.iterdir():
        file.unlink()
    build.path.rmdir()
    assert (
        "was pruned" in api.is_problem(410, "GET", f"/builds/o/n/{build.id}")["detail"]
    )
    other = build.id.replace("-1a2b3c4", "-1a2b3c5")
    api.is_problem(404, "GET", f"/builds/o/n/{other}")
    api.is_problem(404, "GET", "/builds/o/n/nothing")
    api.is_problem(404, "GET", "/builds/o/unknown/latest")


def test_results_and_reports_are_served_and_nothing_else(api, folder, tmp_path):
    build = folder.build(1, log=b"x")
    (build.path / "version").write_text("1.2.3\n")
    (build.path / "reports/deep").mkdir(parents=True)
    (build.path / "reports/deep/junit.html").write_text("<script>alert(1)</script>")
    (build.path / "reports/out").symlink_to(folder.config)
    (build.path / "reports/up").symlink_to(tmp_path)
    base = f"/builds/o/n/{build.id}/files"
    assert api.get(f"{base}/version").text == "1.2.3\n"
    report = api.get(f"{base}/reports/deep/junit.html")
    assert report.headers["Content-Disposition"] == 'attachment; filename="junit.html"'
    assert report.headers["Content-Type"] == "application/octet-stream"
    for name in (
        "tags",
        "build.json",
        "lock",
        "reports/out",
        "reports/up/config.json",
        "reports/../build.json",
        "reports/%2e%2e/build.json",
        "%2e%2e/state.json",
        "reports/deep",
        "reports/a%00b",
    ):
        api.is_problem(404, "GET", f"{base}/{name}")


def test_overview_says_what_is_red_and_since_when(api, folder):
    folder.build(1, finished_at="2026-11-22T05:00:00Z")
    for number in 2, 3:
        folder.build(
            number,
            "failure",
            failed_step="unit-test",
            message="unit-test.sh: npm test failed",
            failing=[{"line": 7, "offset": 99, "text": "not ok 3 - adds"}],
            finished_at=f"2026-11-22T05:0{number}:00Z",
        )
    folder.build(4, None)
    found = api.get("/overview").json()
    [red] = found["red"]
    assert red["ref"] == "refs/heads/main"
    assert red["build"]["message"] == "unit-test.sh: npm test failed"
    assert red["build"]["failing"][0]["text"] == "not ok 3 - adds"
    assert red["since"] == "2026-11-22T05:02:00Z"
    names = ["queued", "failure", "failure", "success"]
    assert [build["status"] for build in red["strip"]] == names
    assert found["counts"] == {"red": 1, "running": 0, "waiting": 1, "green": 0}
    assert found["waiting"][0]["why"] == "no poller runs"
    assert found["poller"]["running"] is False
    assert [row["name"] for row in found["repositories"]] == ["o/n", "o/other"]
    assert api.get("/health").status_code == 503


def test_repositories_are_as_they_are_configured(api, folder):
    folder.build(1)
    found = api.get("/repositories").json()["repositories"]
    assert [one["name"] for one in found] == ["o/n", "o/other"]
    assert found[0]["last"]["refs/heads/main"]["version"] == "1.2.3"
    one = api.get("/repositories/o/n").json()
    assert one["settings"]["branches"] == ["main", "master"]
    words = 'o/m is not configured, did you mean "o/n"? (add it to "repositories")'
    assert api.is_problem(404, "GET", "/repositories/o/m")["detail"] == words


def test_badges(api, folder):
    def words(query=""):
        badge = api.get(f"/badge/o/n.json{query}").json()
        assert badge["message"] in api.get(f"/badge/o/n.svg{query}").text
        return badge["message"]

    assert words() == "no builds"
    folder.build(1)
    folder.build(2, None)
    assert words() == "1.2.3"
    folder.build(3, "failure", ref="refs/heads/dev")
    assert (words(), words("?branch=dev")) == ("1.2.3", "failure")
    label = api.get("/badge/o/n.svg?label=<script>").text
    assert "<script>" not in label
    api.is_problem(404, "GET", "/badge/o/unknown.svg")


def test_metrics(api, folder):
    folder.build(1, steps=[{"name": "build", "status": "success", "seconds": 2.5}])
    folder.build(2, None)
    line = {"time": "2026-11-22T05:11:00Z", "repository": "o/n", "what": "finished"}
    line |= {"build": "x", "why": "failure at build: no Dockerfile"}
    journal = folder.builds / "journal.jsonl"
    journal.write_text(json.dumps(line) + "\n")
    text = api.get("/metrics").text
    about = 'ref="refs/heads/main",repository="o/n"'
    assert f'dbs_last_build_status{{{about},status="success"}} 1.0' in text
    assert f'dbs_step_duration_seconds{{{about},step="build"}} 2.5' in text
    count = 'dbs_builds_finished_total{repository="o/n",status="failure"}'
    assert f"{count} 1.0" in text
    assert "dbs_builds_waiting 1.0" in text
    assert "1a2b3c4" not in text
    with journal.open("a") as file:
        file.write(json.dumps(line) + "\n" + json.dumps(line)[:9])
    assert f"{count} 2.0" in api.get("/metrics").text


def test_head_is_had_wherever_get_is(api, folder):
    build = folder.build(1, log=b"x")
    (build.path / "version").write_text("1.2.3\n")
    names = {"owner": "o", "name": "n", "id": build.id, "file": "version"}
    names |= {"step": "build", "request": "0" * 32}
    for call in CALLS:
        if (
            call.method == "GET"
            and call.answer.__module__ != "wrapper.web.repositories"
        ):
            path = call.path.replace(":path", "").format(**names)
            head, whole = api("HEAD", path), api.get(path, stream=True)
            whole.close()
            assert (head.status_code, head.content) == (whole.status_code, b"")
            kind = "Content-Type"
            assert head.headers.get(kind) == whole.headers.get(kind), path


def test_what_there_is_not_and_methods_that_are_not(api):
    url = f"{api.url}/api/v1"
    gone = api.session.get(f"{url}/nothing")
    assert gone.status_code == 404
    assert gone.headers["Content-Type"] == "application/problem+json"
    wrong = api.session.delete(f"{url}/builds")
    assert wrong.status_code == 405
    assert sorted(wrong.headers["Allow"].split(", ")) == ["GET", "HEAD", "POST"]


def test_a_configuration_that_cannot_be_used_is_told(folder):
    folder.config.write_text("{")
    with serving(folder.config) as (url, _), Api(url) as api:
        found = api.get("/overview").json()
        assert "config.json: line 1" in found["poller"]["configuration"]
        assert api.get("/repositories").json()["repositories"] == []


def test_without_a_poller(folder):
    folder.build(1)
    by_hand = folder.build(2, source="manual")
    with serving(folder.config) as (url, _), Api(url) as api:
        none = api.is_problem(503, "POST", "/builds", json={"repository": "o/n"})
        assert none["detail"].startswith("no poller runs")
        assert none["retry_after"]
        mine = api.is_problem(409, "POST", f"/builds/o/n/{by_hand.id}/rerun")
        assert "POST …/steps/STEP" in mine["detail"]
        assert api.get("/health").status_code == 503
        assert api.get("/overview").json()["poller"]["running"] is False
