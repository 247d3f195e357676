"""No answer over HTTP takes longer, or is larger, than it may."""

import gzip
import time
import tracemalloc
import zlib

import pytest
import requests

from tests.support.parts import ROOT
from wrapper import answer
from wrapper.config import source
from wrapper.config.source import ConfigError
from wrapper.github import client, errors
from wrapper.github.client import GitHub
from wrapper.github.errors import Trouble

MIB = 1 << 20
ZIP = {"Content-Encoding": "gzip"}


@pytest.fixture
def ask(github, monkeypatch):
    """ask(path, …) -> the stand-in's answer."""
    monkeypatch.setattr(answer, "SECONDS", 0.6)
    with answer.session() as session:

        def ask(path="/x", **options):
            return answer.ask(session, "GET", github.url + path, **options)

        yield ask


@pytest.fixture
def hub(github, monkeypatch):
    monkeypatch.setenv("GITHUB_API_URL", github.url)
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    monkeypatch.delenv("GITHUB_TOKEN_FILE", raising=False)
    return GitHub()


@pytest.mark.parametrize("where", ["head", "body"])
@pytest.mark.parametrize("kept", [False, True], ids=["new connection", "kept one"])
def test_what_drips_is_ended(ask, github, where, kept):
    if kept:
        ask("/rate_limit")
    github.fault("/x", drip=where, every=0.05)
    begin = time.monotonic()
    with pytest.raises(answer.TooSlow, match=r"no end of it within"):
        ask()
    assert time.monotonic() - begin < 0.6 * 5
    assert ask("/rate_limit").status_code == 200


def test_redirects_that_drip_count_as_one_call(ask, github):
    place = {"Location": "/x"}
    github.fault("/x", times=-1, status=301, headers=place, delay=0.25)
    with pytest.raises(answer.TooSlow):
        ask(redirects=20)


def test_what_is_too_large_is_left(ask, github):
    github.fault("/x", status=200, body=b" " * (MIB + 1))
    with pytest.raises(answer.TooLarge, match="more than 1 MiB"):
        ask(most=MIB)
    github.fault("/x", status=200, body=b" " * MIB)
    assert len(ask(most=MIB).content) == MIB


def bomb(mib, members=1):
    pack = zlib.compressobj(9, wbits=31)
    block = b" " * MIB
    whole = b"".join(pack.compress(block) for _ in range(mib)) + pack.flush()
    return whole * members


@pytest.mark.parametrize("status", [200, 301, 500])
@pytest.mark.parametrize("body", [bomb(256), bomb(9, 64)], ids=["one", "members"])
def test_what_unzips_to_too_much_is_left_before_it_does(ask, github, status, body):
    headers = ZIP | {"Location": "/y"}
    github.fault("/x", status=status, body=body, headers=headers)
    tracemalloc.start()
    with pytest.raises(answer.TooLarge):
        ask(seconds=60)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * MIB  # the bomb itself, twice in this process, included


def test_zipped_answers_are_read(ask, github):
    github.fault("/x", status=200, body=gzip.compress(b"one, "), headers=ZIP)
    assert ask().content == b"one, "
    two = gzip.compress(b"one, ") + gzip.compress(b"two")
    github.fault("/x", status=200, body=two, headers=ZIP)
    assert ask().content == b"one, two"
    for body in two[:-3], b"no zip":
        github.fault("/x", status=200, body=body, headers=ZIP)
        with pytest.raises(requests.RequestException):
            ask()
    twice = {"Content-Encoding": "gzip, gzip"}
    github.fault("/x", status=200, body=gzip.compress(two), headers=twice)
    with pytest.raises(requests.RequestException, match="encoded as gzip, gzip"):
        ask()


def test_a_feed_s_troubles_are_its_own(hub, github, monkeypatch):
    monkeypatch.setattr(answer, "SECONDS", 0.5)
    url = hub.feed("o/n")
    github.fault("/events", drip="body", every=0.05)
    with pytest.raises(Trouble, match="GitHub answers too slowly") as found:
        hub.page(url)
    assert not found.value.everywhere
    monkeypatch.setattr(answer, "SECONDS", 60)
    github.fault("/events", status=200, body=bomb(64), headers=ZIP)
    with pytest.raises(Trouble, match="GitHub answers with more than 10 MiB") as found:
        hub.page(url)
    assert not found.value.everywhere


def test_json_that_would_fill_the_memory_is_not_parsed(hub, github):
    github.fault("/events", status=200, body=b"[" + b"[]," * 3_000_000 + b"[]]")
    with pytest.raises(Trouble, match="JSON of too many values"):
        hub.page(hub.feed("o/n"))


@pytest.mark.parametrize("digits", ["9" * 400, "86400", "3601"])
def test_what_asks_to_be_waited_for_is_waited_for_an_hour(digits):
    assert client._interval({"X-Poll-Interval": digits}) == 3600
    assert client._interval({"Cache-Control": f"max-age={digits}"}) == 3600
    limited = requests.Response()
    limited.status_code = 429
    for key in "Retry-After", "X-RateLimit-Reset":
        limited.headers.clear()
        limited.headers[key] = "9" * 12 + digits
        limited.headers["X-RateLimit-Remaining"] = "0"
        trouble = errors.judge(limited)
        assert trouble and trouble.wait <= 3601


@pytest.mark.parametrize("digits", ["\u00b2", "-1", "1e9", "", "\u0663"])
def test_an_interval_that_is_no_number_is_none(digits):
    assert client._interval({"X-Poll-Interval": digits}) is None
    limited = requests.Response()
    limited.status_code = 429
    limited.headers["Retry-After"] = digits
    trouble = errors.judge(limited)
    assert trouble and trouble.wait == errors.PAUSE


def test_a_used_up_quota_spaces_by_an_hour_at_most(hub):
    hub._quota = 5000, 1, time.monotonic() + 3000
    assert hub.spacing(50_000) == 3600
    hub._quota = 5000, -7, time.monotonic() + 3000
    assert 2990 < hub.spacing(50_000) <= 3600


def test_a_configuration_that_drips_or_unzips(github, monkeypatch):
    monkeypatch.setattr(answer, "SECONDS", 0.5)
    url = github.url + "/config.json"
    github.fault("/config", drip="body", every=0.05)
    with pytest.raises(ConfigError, match="cannot be fetched: TooSlow"):
        source.fetch(url)
    github.fault("/config", status=200, body=bomb(64), headers=ZIP)
    with pytest.raises(ConfigError, match="is larger than 1 MiB"):
        source.fetch(url)


def test_nothing_else_of_ours_asks_over_http():
    """What bounds an answer is in one place: all go through it."""
    for path in (ROOT / "wrapper").rglob("*.py"):
        text = path.read_text()
        for call in "requests.get(", "requests.post(", "requests.Session(", "urlopen(":
            assert call not in text or path.name == "answer.py", path
