"""When something is tried again, and what is said of it."""

import time

import pytest

from wrapper.pushes.backoff import LONGEST, Backoff


@pytest.fixture
def said():
    return []


@pytest.fixture
def backoff(said):
    return Backoff(said.append)


def left(backoff):
    return backoff.due - time.monotonic()


def test_it_is_due_at_once_and_then_as_told(backoff):
    assert left(backoff) <= 0
    backoff.succeeded(60)
    assert 59 < left(backoff) <= 60
    assert time.time() - backoff.answered < 1


def test_after_troubles_it_is_later_and_later_but_not_for_ever(backoff):
    for steps in 1, 2, 4, 8, LONGEST, LONGEST, *[LONGEST] * 2000:
        backoff.failed("no", 10)
        assert 10 * steps * 0.8 - 0.1 < left(backoff) <= 10 * steps * 1.2
    backoff.succeeded(10)
    backoff.failed("no", 10)
    assert left(backoff) <= 12


def test_where_a_person_must_act_it_is_asked_seldom_from_the_start(backoff):
    backoff.failed("no", 10, slow=True)
    assert left(backoff) > 10 * LONGEST * 0.8 - 0.1


def test_a_wait_that_was_asked_for_is_kept(backoff):
    backoff.failed("no", 10, wait=500)
    assert left(backoff) > 499


def test_not_all_come_back_at_the_same_moment():
    lengths = set()
    for _ in range(20):
        backoff = Backoff(lambda words: None)
        backoff.failed("no", 10)
        lengths.add(round(left(backoff), 1))
    assert len(lengths) > 5


def test_the_same_trouble_is_said_once(backoff, said):
    for words in "one", "one", "two", "two", "one":
        backoff.failed(words, 10)
    assert [s.split(";")[0] for s in said] == ["one", "two", "one"]
    assert "asked again in" in said[0]
    backoff.succeeded(1)
    backoff.succeeded(1)
    assert said[3:] == ["answers again"]
    backoff.failed("one", 10)
    assert len(said) == 5


def test_what_others_say_is_not_said_here(backoff, said):
    backoff.failed("one", 10, quiet=True)
    assert backoff.trouble == "one"
    backoff.succeeded(1)
    assert said == [] and backoff.trouble == ""
