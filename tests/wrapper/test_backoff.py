"""When something is tried again, and what is said of it."""

import time

import pytest

from wrapper.pushes.backoff import LONGEST, Pace


@pytest.fixture
def said():
    return []


@pytest.fixture
def pace(said):
    return Pace(said.append)


def left(pace):
    return pace.due - time.monotonic()


def test_it_is_due_at_once_and_then_as_told(pace):
    assert left(pace) <= 0
    pace.succeeded(60)
    assert 59 < left(pace) <= 60
    assert time.time() - pace.answered < 1


def test_after_troubles_it_is_later_and_later_but_not_for_ever(pace):
    for steps in 1, 2, 4, 8, LONGEST, LONGEST, *[LONGEST] * 2000:
        pace.failed("no", 10)
        assert 10 * steps * 0.8 - 0.1 < left(pace) <= 10 * steps * 1.2
    pace.succeeded(10)
    pace.failed("no", 10)
    assert left(pace) <= 12


def test_where_a_person_must_act_it_is_asked_seldom_from_the_start(pace):
    pace.failed("no", 10, slow=True)
    assert left(pace) > 10 * LONGEST * 0.8 - 0.1


def test_a_wait_that_was_asked_for_is_kept(pace):
    pace.failed("no", 10, wait=500)
    assert left(pace) > 499


def test_not_all_come_back_at_the_same_moment():
    lengths = set()
    for _ in range(20):
        pace = Pace(lambda words: None)
        pace.failed("no", 10)
        lengths.add(round(left(pace), 1))
    assert len(lengths) > 5


def test_the_same_trouble_is_said_once(pace, said):
    for words in "one", "one", "two", "two", "one":
        pace.failed(words, 10)
    assert [s.split(";")[0] for s in said] == ["one", "two", "one"]
    assert "asked again in" in said[0]
    pace.succeeded(1)
    pace.succeeded(1)
    assert said[3:] == ["answers again"]
    pace.failed("one", 10)
    assert len(said) == 5


def test_what_others_say_is_not_said_here(pace, said):
    pace.failed("one", 10, quiet=True)
    assert pace.trouble == "one"
    pace.succeeded(1)
    assert said == [] and pace.trouble == ""
