"""How a build ended, in the same words everywhere."""

import pytest

from wrapper.builds import verdict

TIMES = {"started_at": "2026-11-26T05:10:00Z", "finished_at": "2026-11-26T05:11:02Z"}


@pytest.mark.parametrize(
    "result, words, brief",
    [
        ({"status": "success", "version": "1.2.3"}, "success: 1.2.3", "success"),
        (
            {"status": "failure", "failed_step": "build", "message": "no Dockerfile"},
            "failure at build: no Dockerfile",
            "failure (build)",
        ),
        ({"status": "cancelled", "message": "x"}, "cancelled: x", "cancelled"),
        (
            {"status": "skipped", "message": ""},
            "skipped: the head commit says [skip ci]",
            "skipped",
        ),
        ({"status": "error", "failed_step": 7}, "error at 7", "error (7)"),
        ({}, "unknown", "unknown"),
    ],
)
def test_in_words_and_in_brief(result, words, brief):
    assert verdict.words(result) == words
    assert verdict.brief(result) == brief


def test_seconds():
    for status in "failure", "success":
        assert verdict.seconds(TIMES | {"status": status}) == 62
    steps = [{"name": "clone", "seconds": 0.25}, {"name": "build", "seconds": 61.5}]
    assert verdict.seconds(TIMES | {"status": "success", "steps": steps}) == 61.75
    assert verdict.seconds(TIMES | {"status": "cancelled", "steps": steps}) == 62


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"started_at": None, "finished_at": "2026-11-26T05:11:02Z"},
        {"started_at": 7, "finished_at": 8},
        {"started_at": "x", "finished_at": "y"},
        {"status": "success", "steps": [3]},
        {"status": "success", "steps": 3},
    ],
)
def test_seconds_that_cannot_be_told(result):
    assert verdict.seconds(result) is None


def test_what_was_published():
    name = "127.0.0.1:5000/o/n"
    pushed = [f"{name}:{tag}@sha256:{'a' * 64}" for tag in ("1.2.3", "1.2", "latest")]
    result = {"version": "1.2.3", "pushed": pushed}
    assert verdict.published(result) == "1.2.3 as 1.2.3, 1.2, latest"


def test_what_failed_comes_before_who_says_so():
    line = {"line": 752, "offset": 9, "text": "    not ok 150 - adds 150"}
    result = {"status": "failure", "failed_step": "unit-test", "failing": [line]}
    result |= {"message": "unit-test.sh: npm test failed with exit code 1"}
    said = verdict.words(result)
    assert said.startswith(
        "failure at unit-test: not ok 150 - adds 150 (unit-test.sh: "
    )
    last = {"line": 1, "offset": 0, "text": "  operator: 'strictEqual'"}
    said = verdict.words(result | {"failing": [last]})
    assert (
        said == "failure at unit-test: unit-test.sh: npm test failed with exit code 1"
    )


def test_a_success_without_tests_says_so():
    result = {"status": "success", "version": "1.4.2", "tests": "skipped: no script"}
    assert verdict.words(result) == "success (tests skipped: no script): 1.4.2"
    assert verdict.words(result | {"tests": "passed"}) == "success: 1.4.2"
