"""What forges send, signed as they sign: a hint to look, and nothing more."""

import base64
import hmac
import json
import time
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest

from tests.support.web import Api, serving
from wrapper.web import signatures

SECRET, OLD = "a-secret-of-a-webhook", "the-secret-before-that"
KEY = b"0123456789abcdef0123456789abcdef"
WHSEC = "whsec_" + base64.b64encode(KEY).decode()
PUSH = {"ref": "refs/heads/main", "repository": {"full_name": "o/n"}}
GITLAB = {
    "project": {
        "path_with_namespace": "group/sub/app",
        "git_http_url": "https://gitlab.example.com/group/sub/app.git",
    }
}


def digest(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, "sha256").hexdigest()


def standard(body: bytes, age: float = 0, key: bytes = KEY) -> dict[str, str]:
    at = str(int(time.time() - age))
    text = f"msg_1.{at}.".encode() + body
    mine = base64.b64encode(hmac.digest(key, text, "sha256")).decode()
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": at,
        "webhook-signature": f"v1,AAAA v1,{mine}",
    }


@pytest.fixture
def hooks(folder):
    """An API to whose hooks nobody needs a token."""
    file = folder.config.with_name("hooks")
    file.write_text(f"{SECRET}\n{OLD}\n{WHSEC}\n")
    file.chmod(0o600)
    url = "ssh://git@gitlab.example.com:2222/group/sub/app.git"
    config = json.loads(folder.configure("o/n", "o/other"))
    config["repositories"]["our/app"] = {"url": url.replace(":2222", "")}
    folder.config.write_text(json.dumps(config))
    with (
        serving(folder.config, hook_secret_file=file) as (url, _),
        Api(url, token=None) as api,
    ):
        yield api


def send(hooks, sender, headers, body=None, **more):
    body = BODY if body is None else body
    headers = headers(body) if callable(headers) else headers
    headers = {"Content-Type": "application/json"} | headers
    return hooks("POST", f"/hooks/{sender}", data=body, headers=headers, **more)


def looked(folder):
    found = [path.parent for path in folder.builds.glob("*/*/.look")]
    for path in found:
        (path / ".look").unlink()
    return ["/".join(path.parts[-2:]) for path in found]


BODY = json.dumps(PUSH).encode()
GITLAB_BODY = json.dumps(GITLAB).encode()
FORM = urlencode({"payload": BODY.decode()}).encode()
VALID = {
    "github": ("github", {"X-Hub-Signature-256": f"sha256={digest(BODY)}"}, BODY),
    "github, the secret before": (
        "github",
        {"X-Hub-Signature-256": f"sha256={digest(BODY, OLD)}"},
        BODY,
    ),
    "github, as a form": (
        "github",
        {
            "X-Hub-Signature-256": f"sha256={digest(FORM)}",
            "Content-Type": "application/x-www-form-urlencoded",
        },
        FORM,
    ),
    # Gitea sends the event header of GitHub, too.
    "gitea": (
        "gitea",
        {"X-Gitea-Signature": digest(BODY), "X-GitHub-Event": "push"},
        BODY,
    ),
    "forgejo": ("forgejo", {"X-Forgejo-Signature": digest(BODY)}, BODY),
    "gitlab, signed": ("gitlab", standard, GITLAB_BODY),
    "gitlab, a token": ("gitlab", {"X-Gitlab-Token": SECRET}, GITLAB_BODY),
    "generic, signed": ("generic", standard, b'{"repository": "o/n"}'),
    "generic, bearer": ("generic", {"Authorization": f"Bearer {SECRET}"}, BODY),
}


@pytest.mark.parametrize("name", VALID)
def test_what_is_signed_has_the_poller_look(hooks, folder, name):
    sender, headers, body = VALID[name]
    answer = send(hooks, sender, headers, body)
    assert answer.status_code == 202
    meant = ["our/app"] if sender == "gitlab" else ["o/n"]
    assert answer.json()["repositories"] == meant
    assert looked(folder) == meant
    assert (folder.builds / ".wake").exists()


@pytest.mark.parametrize(
    "sender, headers",
    [
        ("github", {}),
        ("github", {"X-Hub-Signature-256": f"sha256={digest(BODY, 'another')}"}),
        (
            "github",
            {"X-Hub-Signature": hmac.new(SECRET.encode(), BODY, "sha1").hexdigest()},
        ),
        ("github", {"X-Gitea-Signature": digest(BODY)}),
        ("github", {"Authorization": f"Bearer {SECRET}"}),
        ("gitea", {"X-Gitea-Signature": digest(BODY)[:-1]}),
        ("gitlab", {"X-Gitlab-Token": SECRET[:-1]}),
        ("gitlab", {"X-Gitlab-Token": ""}),
        ("gitlab", lambda body: standard(body, age=301)),
        ("gitlab", lambda body: standard(body, age=-400)),
        ("gitlab", lambda body: standard(body, key=b"x")),
        ("generic", lambda body: standard(body + b" ")),
    ],
)
def test_what_is_not_is_refused_and_said_once(hooks, folder, capfd, sender, headers):
    for _ in range(3):
        assert send(hooks, sender, headers).status_code == 401
    assert looked(folder) == []
    assert capfd.readouterr().out.count("is refused") == 1


@pytest.mark.parametrize("name", VALID)
def test_what_is_sent_twice_is_one_more_look_while_its_time_is_right(
    hooks, folder, monkeypatch, name
):
    sender, made, body = VALID[name]
    headers = made(body) if callable(made) else made
    for _ in range(2):  # the same bytes: it had no answer, or somebody has heard it
        assert send(hooks, sender, headers, body).status_code == 202
        assert len(looked(folder)) == 1
    later = time.time() + 301
    monkeypatch.setattr(signatures, "time", SimpleNamespace(time=lambda: later))
    dated = made is standard
    assert send(hooks, sender, headers, body).status_code == (401 if dated else 202)
    assert len(looked(folder)) == (0 if dated else 1)


def test_a_ping_and_what_is_no_repository_of_ours(hooks, folder):
    body = json.dumps({"zen": "…", "repository": {"full_name": "a/b\n"}}).encode()
    headers = {"X-Hub-Signature-256": f"sha256={digest(body)}"}
    ping = send(hooks, "github", headers | {"X-GitHub-Event": "ping"}, body)
    assert ping.status_code == 200
    unknown = send(hooks, "github", headers, body)
    assert (unknown.status_code, unknown.json()["repositories"]) == (202, [])
    [line] = (folder.builds / "journal.jsonl").read_text().splitlines()
    assert "which is not configured" in json.loads(line)["why"]
    assert looked(folder) == []


def test_what_cannot_be_read_is_no_trouble(hooks):
    for body in b"", b"[1]", b"{" * 5000, b'{"repository": {"full_name": 3}}':
        headers = {"X-Hub-Signature-256": f"sha256={digest(body)}"}
        assert send(hooks, "github", headers, body).status_code in (202, 400)


def test_without_a_secret_there_are_none(folder):
    with serving(folder.config) as (url, _), Api(url) as api:
        answer = api.is_problem(403, "POST", "/hooks/github", json={})
        assert "--hook-secret-file" in answer["detail"]
        assert api.post("/repositories/o/other/look").status_code == 202
    assert looked(folder) == ["o/other"]
