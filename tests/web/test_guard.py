"""Whoever asks in a way that is not meant is refused, and nobody else notices."""

import contextlib
import json
import re
import resource
import socket
import time

import pytest
import requests

from tests.support.parts import wait_for
from tests.support.web import TOKEN, Api, serving
from wrapper.web import guard, tokens
from wrapper.web import serve as serve_module
from wrapper.web.app import CALLS
from wrapper.web.options import Options, Refused


def raw(url: str, request: bytes, more: bytes = b"") -> bytes:
    """What is answered to these very bytes."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as line:
        line.sendall(request)
        if more:
            line.sendall(more)
        found = b""
        with contextlib.suppress(ConnectionResetError):  # it does not read the rest
            while data := line.recv(65536):
                found += data
        return found


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def head(path: str, *headers: str, method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Authorization: Bearer {TOKEN}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize(
    "host, code",
    [
        ("127.0.0.1", 200),
        ("localhost:99", 200),
        ("builds.localhost", 200),
        ("[::1]:7070", 200),
        ("builds.example.com", 200),
        ("BUILDS.internal:80", 200),
        ("evil.example.com", 421),
        ("127.0.0.1.evil.com", 421),
        ("10.0.0.1", 421),
        ("", 421),
    ],
)
def test_only_its_own_names_are_answered(folder, host, code):
    own, public = frozenset(["builds.internal"]), "https://builds.example.com"
    with serving(folder.config, hosts=own, url=public) as (url, _):
        for path in "/api/v1/builds", "/", "/static/page.css":
            answer = raw(url, head(path, f"Host: {host}", "Connection: close"))
            assert status(answer) == code


def test_no_host_and_two_of_them(api):
    two = head("/", "Host: localhost", "Host: evil.example.com", "Connection: close")
    assert status(raw(api.url, two)) == 400
    old = b"GET / HTTP/1.0\r\n\r\n"
    assert status(raw(api.url, old)) == 421


@pytest.mark.parametrize(
    "headers, code",
    [
        ({}, 422),
        ({"Origin": "http://evil.example.com"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 422),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_no_page_of_another_site_changes_anything(api, headers, code):
    headers = {"Content-Type": "application/json"} | headers
    api.is_problem(code, "POST", "/stages", data=b"{}", headers=headers)
    own = {"Origin": api.url, "Content-Type": "application/json"}
    api.is_problem(422, "POST", "/stages", data=b"{}", headers=own)


def test_a_right_that_is_not_given_is_named(folder):
    with (
        serving(folder.config, allow=frozenset(["steps"])) as (url, _),
        Api(url) as api,
    ):
        for call in CALLS:
            if call.right and call.right != "steps":
                path = re.sub(r"\{.*?\}", "x", call.path)
                words = api.is_problem(403, call.method, path, json={})["detail"]
                assert f"--allow {call.right}" in words
        api.is_problem(422, "POST", "/stages", json={})


def test_wrong_tokens_are_refused_and_many_of_them_for_a_minute(folder, monkeypatch):
    with serving(folder.config) as (url, _):
        with Api(url, token=None) as nobody:
            answer = nobody.get("/builds")
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Basic ")
            assert nobody.session.get(f"{url}/").status_code == 401
        with Api(url) as right, Api(url, token=TOKEN[:-1] + "?") as wrong:
            for _ in range(tokens.FAILURES):
                assert wrong.get("/builds").status_code == 401
            assert wrong.get("/builds").json()["retry_after"] <= 60
            assert right.get("/builds").status_code == 429
            monkeypatch.setattr(tokens, "MINUTE", 0.01)
            time.sleep(0.02)
            assert right.get("/builds").status_code == 200


def test_behind_a_proxy_each_address_counts_for_itself(folder):
    url = "https://builds.example.com"
    with serving(folder.config, url=url) as (here, _), Api(here) as api:
        with Api(here, token="wrong" * 5) as wrong:
            wrong.session.headers["X-Forwarded-For"] = "192.0.2.7"
            for _ in range(tokens.FAILURES):
                assert wrong.get("/builds").status_code == 401
            assert wrong.get("/builds").status_code == 429
        api.session.headers["X-Forwarded-For"] = "192.0.2.8"
        assert api.get("/overview").json()["server"]["by"] == "me@192.0.2.8"


def test_a_token_that_is_rotated(folder):
    with serving(folder.config) as (url, _), Api(url) as api:
        assert api.get("/builds").status_code == 200
        file = folder.config.with_name("token")
        file.write_text(f"{'n' * 24}\n{'m' * 24}\n")
        assert api.get("/builds").status_code == 401
        for new in "n" * 24, "m" * 24:
            bearer = {"Authorization": f"Bearer {new}"}
            assert requests.get(f"{url}/api/v1/builds", headers=bearer).ok
        file.chmod(0o644)
        assert not requests.get(f"{url}/api/v1/builds", headers=bearer).ok


def test_public_reading_and_badges(folder):
    with (
        serving(folder.config, public_badge=True) as (url, _),
        Api(url, None) as nobody,
    ):
        assert nobody.get("/badge/o/n.svg").status_code == 200
        assert nobody.get("/builds").status_code == 401
    with serving(folder.config, public_read=True) as (url, _), Api(url, None) as nobody:
        assert nobody.get("/builds").status_code == 200
        assert nobody.get("/overview").json()["server"]["rights"] == []
        nobody.is_problem(401, "POST", "/stages", json={})


@pytest.mark.parametrize(
    "options, words",
    [
        ({"listen": "0.0.0.0:1"}, "is not this machine alone: it needs a --token-file"),
        ({"listen": ":1"}, "is not this machine alone"),
        ({"listen": "nonsense"}, "is neither HOST:PORT nor unix:PATH"),
        ({"allow": frozenset(["steps"])}, "needs a --token-file"),
        ({"allow": frozenset(["all"])}, "--allow all is no right (of builds, steps,"),
        ({"token": "short"}, "needs 24 characters or more a line"),
        ({"token": "x" * 24, "mode": 0o640}, "can be read by others (chmod 600"),
        ({"token": None}, "cannot be read: No such file"),
    ],
)
def test_it_is_called_wrongly_in_words(tmp_path, options, words):
    if "token" in options:
        file = options["token_file"] = tmp_path / "token"
        if token := options.pop("token"):
            file.write_text(token)
            file.chmod(options.pop("mode", 0o600))
    with pytest.raises(Refused, match=re.escape(words)):
        Options(source="config.json", **options).check()


def test_a_credential_of_systemd_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "token").write_text("x" * 24)
    (tmp_path / "token").chmod(0o440)  # as an ACL makes it look
    Options(source="config.json", token_file=tmp_path / "token").check()


def test_headers_and_bodies_have_an_end(api, monkeypatch):
    local = "Host: localhost", "Content-Type: application/json"
    many = [f"X-{number}: 1" for number in range(guard.HEADERS)]
    assert status(raw(api.url, head("/", *local, *many))) == 431
    large = head("/api/v1/stages", *local, "Content-Length: 1048577", method="POST")
    assert status(raw(api.url, large)) == 413
    chunked = head(
        "/api/v1/stages", *local, "Transfer-Encoding: chunked", method="POST"
    )
    chunk = b"%x\r\n%s\r\n" % (65536, b"x" * 65536)
    assert status(raw(api.url, chunked, chunk * 17)) == 413
    monkeypatch.setattr(guard, "SECONDS", 0.1)
    slow = head("/api/v1/stages", *local, "Content-Length: 9", method="POST")
    host, _, port = api.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as line:
        line.sendall(slow + b"{")
        assert status(line.recv(65536)) == 408


def test_a_thousand_idle_connections_are_closed_and_harm_nobody(folder, monkeypatch):
    monkeypatch.setattr(serve_module, "HEAD_SECONDS", 1.0)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # both ends are ours
    with serving(folder.config) as (url, server), Api(url) as api:
        host, _, port = url.removeprefix("http://").partition(":")
        lines = [socket.create_connection((host, int(port))) for _ in range(1000)]
        lines[0].sendall(b"GET / HTTP/1.1\r\nHost: local")  # and no more
        try:
            assert api.get("/builds").status_code == 200
            own = server.server_state.connections
            wait_for(lambda: len(own) <= 1, 60, f"{len(own)} connections")
        finally:
            for line in lines:
                line.close()


@pytest.mark.parametrize(
    "path",
    [
        "/builds/../../etc/passwd/log",
        "/builds/%2e%2e/%2e%2e/latest",
        "/builds/o/%2e%2e/latest/log",
        "/builds/o/n%2f..%2f..%2f/latest",
        "/builds/.cache/git/latest",
        "/builds/-o/n/latest",
        "/builds/o/n/..",
        "/builds/o/n%00/latest",
        "/builds/o/n%0d%0aSet-Cookie:%20a=b/latest",
        "/badge/../../config.svg",
    ],
)
def test_tricks_with_paths_lead_nowhere(api, folder, path):
    folder.build(1)
    local = "Host: localhost", "Connection: close"
    answer = raw(api.url, head(f"/api/v1{path}", *local))
    assert status(answer) == 404
    assert b"\r\nSet-Cookie" not in answer.partition(b"\r\n\r\n")[0]


def test_a_name_with_control_characters_is_one_line(api):
    words = api.is_problem(422, "POST", "/stages", json={"repository": "o/n\r\nX: y"})
    assert words["errors"][0]["path"] == "repository"
    error = api.is_problem(422, "GET", "/builds?li%0d%0amit=1")
    assert "\n" not in error["detail"]


def test_a_hostile_log_is_text(api, folder):
    hostile = b"<script>alert(1)</script>\x1b]52;c;aGk=\x07\x1b]8;;http://x\x07\x00"
    build = folder.build(1, "failure", hostile)
    answer = api.get(f"/builds/o/n/{build.id}/log")
    assert answer.content == hostile
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_no_answer_holds_a_token(folder, monkeypatch):
    """Neither that of the API nor what stands in its environment."""
    planted = "planted-token-0123456789"
    for variable in "GITHUB_TOKEN", "SECRETS":
        monkeypatch.setenv(variable, planted)
    secret = folder.config.with_name("hooks")
    secret.write_text("hook-secret-0123456789")
    secret.chmod(0o600)
    build = folder.build(1, log=b"x")
    with serving(folder.config, hook_secret_file=secret) as (url, _), Api(url) as api:
        for call in CALLS:
            if call.method != "GET" or "events" in call.path:
                continue
            path = call.path.replace(":path", "").format(
                owner="o",
                name="n",
                id=build.id,
                file="version",
                step="build",
                request="0" * 32,
            )
            text = api.session.get(f"{url}/api/v1{path}").text
            for word in planted, TOKEN, "hook-secret-0123456789":
                assert word not in text, path


def test_it_listens_on_a_socket_in_the_file_system(folder, tmp_path):
    path = tmp_path / "s"
    options = Options(source=str(folder.config), listen=f"unix:{path}")
    options.check()
    listener = serve_module._listen(options)
    listener.listen()
    assert serve_module.where(listener) == f"unix:{path}"
    assert path.stat().st_mode & 0o777 == 0o660
    with pytest.raises(Refused, match="another process answers there"):
        serve_module._listen(options)
    listener.close()
    serve_module._listen(options).close()


def test_a_result_that_is_damaged_is_shown_as_it_is(api, folder):
    build = folder.build(1)
    (build.path / "result.json").write_text(json.dumps({"format": 1, "steps": 3}))
    assert api.get(f"/builds/o/n/{build.id}").status_code == 200
