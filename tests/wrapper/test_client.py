"""The client of GitHub's API."""

import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate

import pytest
import requests

from tests.support.github import GitHub as StandIn
from tests.support.parts import wait_for
from wrapper.github import errors as trouble
from wrapper.github.client import GitHub, serves
from wrapper.github.errors import Trouble, judge, shorten
from wrapper.github.token import Token

SHA = "a" * 40


@pytest.fixture
def client(github, monkeypatch, tmp_path):
    """A client of the stand-in, with a token and a .netrc that must not count."""
    monkeypatch.setenv("GITHUB_API_URL", github.url)
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_right")
    monkeypatch.delenv("GITHUB_TOKEN_FILE", raising=False)
    netrc = tmp_path / ".netrc"
    netrc.write_text("default login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    github.token = "ghp_right"
    github.create("o/n", private=True)
    return GitHub()


def test_a_page_and_its_304(client, github):
    url = client.feed("o/n")
    page = client.page(url)
    assert [e["type"] for e in page.events] == ["CreateEvent"]
    assert page.etag.startswith('W/"')
    assert (page.next, page.interval, page.moved) == (None, 0, None)
    assert client.page(url, page.etag).events is None
    headers = github.requests[0].headers
    assert headers["authorization"] == "Bearer ghp_right"
    assert headers["user-agent"] == "docker-build-server"
    assert headers["accept"] == "application/vnd.github+json"
    assert headers["x-github-api-version"] == "2022-11-28"
    assert github.requests[1].headers["if-none-match"] == page.etag


def test_pages_are_linked(client, github):
    github.noise("o/n", 150)
    page = client.page(client.feed("o/n"))
    assert len(page.events) == 100
    assert len(client.page(page.next).events) == 51


def test_without_a_token_no_netrc_takes_its_place(client, github, monkeypatch):
    monkeypatch.delenv("GITHUB_TOKEN")
    bare = GitHub()
    with pytest.raises(Trouble, match="404"):
        bare.page(bare.feed("o/n"))
    assert "authorization" not in github.requests[-1].headers


def test_a_renamed_repository_is_followed_with_the_token(client, github):
    github.rename("o/n", "o/new")
    page = client.page(client.feed("o/n"))
    assert len(page.events) == 1 and "/repositories/" in page.moved
    assert github.requests[-1].headers["authorization"] == "Bearer ghp_right"


def test_a_redirect_to_another_server_gets_no_token(client, github, tmp_path):
    with StandIn(tmp_path / "other") as other:
        other.create("o/n")
        place = f"{other.url.replace('127.0.0.1', 'localhost')}/repos/o/n/events"
        github.fault("/events", status=301, headers={"Location": place})
        client.page(client.feed("o/n"))
        assert "authorization" not in other.requests[-1].headers


def test_proxies_and_certificates_of_the_environment_count(monkeypatch):
    monkeypatch.setenv("GITHUB_API_URL", "https://api.example.com")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/bundle")
    with pytest.raises(Trouble, match="CA certificate bundle"):
        GitHub().page("https://api.example.com")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(Trouble, match="Connection refused"):
        GitHub().page("https://api.example.com")
    monkeypatch.setenv("NO_PROXY", "example.com")
    with pytest.raises(Trouble, match="does not resolve"):
        GitHub().page("https://api.example.com")


def test_a_status_is_posted_and_follows_a_redirect(client, github):
    client.set_status("o/n", SHA, "success", "x" * 200, "ci/x")
    github.rename("o/n", "o/new")
    client.set_status("o/n", SHA, "failure", "words", "ci/x")
    one, two = github.statuses
    assert (one["sha"], one["state"], len(one["description"])) == (SHA, "success", 140)
    assert (two["repository"], two["description"]) == ("o/new", "words")


def test_a_status_that_is_not_taken_is_trouble(client, github):
    github.fault("/statuses/", status=200, body=[])
    with pytest.raises(Trouble, match="200 to a commit status"):
        client.set_status("o/n", SHA, "success", "", "ci/x")


def test_what_troubles_all_is_said_once_and_when_it_is_over(client, github, capfd):
    github.fault("/events", times=3, status=401)
    github.fault("/events", reset=True)
    for _ in range(4):
        with pytest.raises(Trouble):
            client.page(client.feed("o/n"))
    client.page(client.feed("o/n"))
    client.page(client.feed("o/n"))
    said = [line[21:] for line in capfd.readouterr().out.splitlines()]
    assert len(said) == 3 and said[2] == "poller: GitHub answers again"
    assert "refuses the token" in said[0] and "cannot reach" in said[1]


def test_the_longest_wait_counts(client, github):
    github.fault("/o/n/", status=401, delay=0.5)
    with ThreadPoolExecutor() as pool:
        late = pool.submit(client.page, client.feed("o/n"))
        wait_for(lambda: github.requests)
        github.fault("/o/m/", status=429, headers={"Retry-After": "3000"})
        with pytest.raises(Trouble):
            client.page(client.feed("o/m"))
        with pytest.raises(Trouble, match="refuses the token"):
            late.result()
    with pytest.raises(Trouble) as closed:
        client.page(client.feed("o/n"))
    assert closed.value.wait > 2900


def test_a_number_that_python_does_not_read_hides_no_other_event(client, github):
    body = '[{"id": ' + "9" * 5000 + '}, {"id": 7}]'
    github.fault("/events", status=200, body=body)
    page = client.page(client.feed("o/n"))
    assert [len(str(event["id"])) for event in page.events] == [5000, 1]


def test_a_used_up_quota_closes_the_whole_api(client, github):
    github.fault("/events", status=429, headers={"Retry-After": "1"})
    with pytest.raises(Trouble) as first:
        client.page(client.feed("o/n"))
    assert first.value.wait == 1
    count = len(github.requests)
    with pytest.raises(Trouble, match="used up") as second:
        client.page(client.feed("o/other"))
    assert 0 < second.value.wait <= 1 and len(github.requests) == count
    time.sleep(second.value.wait)
    assert client.page(client.feed("o/n")).events


def quota(client, limit, remaining, seconds):
    reset = str(int(time.time()) + seconds)
    client._note_quota(
        {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Reset": reset,
            "Date": formatdate(usegmt=True),
        }
    )


def test_the_polls_are_spaced_as_the_quota_allows(client, monkeypatch):
    assert client.spacing(3) == 0
    quota(client, 5000, 1500, 3600)
    assert client.spacing(500) == 0  # with a token what has not changed is free
    quota(client, 5000, 900, 1800)
    assert client.spacing(500) == pytest.approx(1000, abs=3)
    quota(client, 5000, 0, 60)
    assert client.spacing(500) == pytest.approx(61, abs=2)
    quota(client, 5000, 900, -5)
    assert client.spacing(500) == 0
    monkeypatch.delenv("GITHUB_TOKEN")
    bare = GitHub()
    quota(bare, 60, 50, 3000)
    assert bare.spacing(2) == pytest.approx(120, abs=1)


def judged(response):
    """The trouble an answer is."""
    found = judge(response)
    assert found
    return found


def answer(status, body=b"", **headers):
    response = requests.Response()
    response.status_code, response._content = status, body
    response.headers.update({k.replace("_", "-"): v for k, v in headers.items()})
    return response


@pytest.mark.parametrize("status", [200, 201, 204, 301, 304])
def test_what_is_no_trouble(status):
    assert judge(answer(status)) is None


RATE = b'{"message": "API rate limit exceeded for user ID 1."}'
ABUSE = b'{"message": "You have triggered an abuse detection mechanism"}'


@pytest.mark.parametrize(
    "response, wait",
    [
        (answer(429), 60),
        (answer(429, Retry_After="7"), 7),
        (answer(403, Retry_After="7"), 7),
        (answer(403, RATE), 60),
        (answer(403, ABUSE, Retry_After=""), 60),
        (
            answer(
                403,
                X_RateLimit_Remaining="0",
                X_RateLimit_Reset="1780272090",
                Date="Mon, 01 Jun 2026 00:00:00 GMT",
            ),
            91,
        ),
        (answer(429, X_RateLimit_Remaining="0", X_RateLimit_Reset="soon"), 61),
    ],
)
def test_rate_limits_are_waited_out(response, wait):
    found = judged(response)
    assert found.everywhere and not found.slow
    assert found.wait == wait


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_what_only_a_person_can_mend(status):
    found = judged(answer(status, b'{"message": "So\\nit is"}'))
    assert found.slow and found.everywhere == (status in (400, 401, 410))
    assert str(found).endswith(f": {status}, So it is")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"message": null}', b"3"])
def test_no_body_is_too_strange(body):
    assert judged(answer(404, body)).slow
    assert str(judge(answer(500, body))).startswith("GitHub answers 500")


def test_what_goes_wrong_on_the_way_is_one_short_line(monkeypatch):
    monkeypatch.delenv("GITHUB_TOKEN_FILE", raising=False)
    for url, words in {
        "http://127.0.0.1:9": "cannot reach http://127.0.0.1:9: Connection refused",
        "http://no.such.invalid": "its name does not resolve",
        "http://[": "cannot reach http://[",
        "nonsense://x": "No connection adapters",
    }.items():
        monkeypatch.setenv("GITHUB_API_URL", url)
        client = GitHub()
        with pytest.raises(Trouble) as found:
            client.page(client.feed("o/n"))
        assert words in str(found.value) and len(str(found.value)) < 250


def test_a_server_that_hangs_is_left(client, github, monkeypatch):
    monkeypatch.setattr("wrapper.answer.TIMEOUT", (0.2, 0.2))
    github.fault("/events", delay=3600)
    with pytest.raises(Trouble, match="no answer in time"):
        client.page(client.feed("o/n"))


def test_a_file_with_the_token_is_read_again_when_it_changes(tmp_path, monkeypatch):
    path = tmp_path / "token"
    monkeypatch.setenv("GITHUB_TOKEN_FILE", str(path))
    monkeypatch.setenv("GITHUB_TOKEN", "not this one")
    token = Token()
    assert token.value() == ""
    for secret in ("ghp_one", "ghp_two"):
        half = tmp_path / "half"
        half.write_text(f"{secret}\n")
        half.rename(path)
        assert token.value() == secret
    path.unlink()
    assert token.value() == "ghp_two"  # being replaced


@pytest.mark.parametrize("text", ["two words", "a\nb", "geheim\u00fc", "", "\x00"])
def test_what_is_no_token_is_not_sent_nor_shown(tmp_path, monkeypatch, text):
    path = tmp_path / "token"
    path.write_text(text)
    monkeypatch.setenv("GITHUB_TOKEN_FILE", str(path))
    assert Token().value() == ""


def test_words_are_shortened_to_one_line():
    assert shorten(" a\n\tb ", 9) == "a b"
    assert shorten("x" * 10, 10) == "x" * 10
    assert shorten("x" * 11, 10) == "x" * 9 + "…"
    assert trouble.PAUSE == 60


@pytest.mark.parametrize(
    "server, url, ours",
    [
        ("", "https://github.com/o/n.git", True),
        ("", "https://GitHub.com:443/o/n", True),
        ("", "git@github.com:o/n.git", True),
        ("", "ssh://git@github.com/o/n.git", True),
        ("", "ssh://git@ssh.github.com:443/o/n.git", True),
        ("", "https://gitlab.com/o/n.git", False),
        ("", "https://github.com.evil.example/o/n.git", False),
        ("", "https://example.com/github.com/o/n.git", False),
        ("", "git@gitlab.com:github.com/n.git", False),
        ("", "file:///srv/git/n.git", False),
        ("", "/srv/git@github.com:o/n.git", False),
        ("https://ghe.example:8443/", "https://ghe.example:8443/o/n.git", True),
        ("https://ghe.example:8443", "https://ghe.example/o/n.git", False),
        ("https://ghe.example:8443", "git@ghe.example:o/n.git", True),
        ("https://ghe.example", "https://github.com/o/n.git", False),
        ("http://127.0.0.1:80", "http://127.0.0.1/o/n.git", True),
    ],
)
def test_which_remotes_are_on_github(monkeypatch, server, url, ours):
    monkeypatch.setenv("GITHUB_SERVER_URL", server)
    assert serves(url) == ours


def test_full_readings_spend_half_of_the_quota_at_most(client, monkeypatch):
    """Also before an answer has told it."""
    assert client.full_reading(500) == 500 * 3600 / 2500
    client._quota = 15_000, 9_000, 0.0
    assert client.full_reading(5000) == 5000 * 3600 / 7500
    monkeypatch.delenv("GITHUB_TOKEN")
    assert GitHub().full_reading(1) == 120


def test_first_readings_wait_when_a_quarter_of_the_quota_is_left(client, monkeypatch):
    assert not client.saves()
    quota(client, 5000, 1250, 3600)
    assert not client.saves()
    quota(client, 5000, 1249, 3600)
    assert client.saves()
    assert client.spacing(5000) == 0  # nobody else is slowed
    quota(client, 5000, 0, -5)
    assert not client.saves()
    monkeypatch.delenv("GITHUB_TOKEN")
    bare = GitHub()
    quota(bare, 60, 1, 3000)
    assert not bare.saves()  # where all of them cost, spacing does it
