"""What a page of events says: the shapes of all years, and whatever else may come."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wrapper.github.events import Event, read

HEAD, BEFORE = "a" * 40, "b" * 40
AT = 1_780_272_000  # 2026-06-01T00:00:00Z
NOW = AT + 1000


def event(
    kind="PushEvent", id="12700000001", created_at="2026-06-01T00:00:00Z", **more
):
    return {
        "id": id,
        "type": kind,
        "actor": {"id": 1, "login": "someone"},
        "repo": {"id": 7, "name": "o/n"},
        "payload": more,
        "public": True,
        "created_at": created_at,
    }


def pushed(**more):
    payload = {"ref": "refs/heads/main", "head": HEAD, "before": BEFORE} | more
    return event(repository_id=7, push_id=38500000000, **payload)


def only(item):
    found = read([item], NOW)
    assert found.bad == {}
    [one] = found.events
    return one


PUSH = Event("12700000001", AT, "push", "refs/heads/main", BEFORE, HEAD)


def test_a_push_of_today():
    assert only(pushed()) == PUSH


def test_a_push_as_it_was_until_2025_and_is_on_an_enterprise_server():
    commits = [{"sha": HEAD, "message": "x", "distinct": True, "author": {}}]
    old = pushed(size=1, distinct_size=1, commits=commits)
    assert only(old) == PUSH
    assert only(pushed(size=0, distinct_size=0, commits=[])) == PUSH


def test_an_id_that_is_a_number():
    assert only(pushed() | {"id": 12700000001}) == PUSH


def test_commits_of_sha_256():
    assert only(pushed(head="c" * 64, before="d" * 64)).head == "c" * 64


@pytest.mark.parametrize(
    "kind, ref_type, ref",
    [
        ("branch", "branch", "refs/heads/feature/x"),
        ("tag", "tag", "refs/tags/v1.0.0"),
    ],
)
@pytest.mark.parametrize("shape", ["today", "before full_ref"])
@pytest.mark.parametrize("what", ["Create", "Delete"])
def test_creations_and_deletions(kind, ref_type, ref, shape, what):
    payload = {"ref": ref.split("/", 2)[2], "ref_type": kind, "pusher_type": "user"}
    if shape == "today":
        payload["full_ref"] = ref
    one = only(event(f"{what}Event", **payload))
    assert one == Event("12700000001", AT, what.lower(), ref)


def test_what_is_about_no_ref_is_passed_over():
    page = [
        event("WatchEvent", "1", action="started"),
        event("CreateEvent", "2", ref=None, ref_type="repository", full_ref=None),
        event("GollumEvent", "3", pages=[]),
        event("PullRequestEvent", "4", action="merged"),
        pushed(before=HEAD) | {"id": "5"},  # mirrors push what is there already
    ]
    found = read(page, NOW)
    assert found.events == [] and found.bad == {}
    assert set(found.ids) == {"1", "2", "3", "4", "5"}


def test_a_push_without_before():
    missing = pushed()
    del missing["payload"]["before"]
    assert only(missing).before == ""
    assert only(pushed(before="0" * 40)).before == ""


def test_a_push_of_nothing_is_a_deletion():
    assert only(pushed(head="0" * 40)).kind == "delete"


@pytest.mark.parametrize(
    "ref", ["refs/heads/Jay's-branch", "refs/heads/deployApp(x)", "refs/heads/a#b;$(c)"]
)
def test_names_as_strangers_choose_them(ref):
    assert only(pushed(ref=ref)).ref == ref


@pytest.mark.parametrize("time", [None, 7, "", "yesterday", "2026-06-01T00:00:00"])
def test_a_time_that_cannot_be_read_is_now(time):
    expected = AT if time and str(time).startswith("2026") else NOW
    assert only(pushed() | {"created_at": time}).at == expected


def test_no_event_is_from_the_future():
    assert only(pushed() | {"created_at": "2099-01-01T00:00:00Z"}).at == NOW


@pytest.mark.parametrize(
    "change",
    [
        {"head": None},
        {"head": 7},
        {"head": "abc"},
        {"head": HEAD + "\n"},
        {"before": ["x"]},
        {"ref": None},
        {"ref": "main"},
        {"ref": "refs/pull/1/head"},
        {"ref": "refs/heads/\ud800"},
    ],
)
def test_one_bad_event_is_skipped_and_noted(change):
    good = pushed() | {"id": "1"}
    found = read([pushed(**change), good], NOW)
    assert [e.id for e in found.events] == ["1"]
    assert list(found.bad) == ["12700000001"]
    assert set(found.ids) == {"12700000001", "1"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(["id", "type", "created_at", "payload", "repo", "actor"])
PAYLOAD = st.sampled_from(["ref", "head", "before", "ref_type", "full_ref"])
KINDS = st.sampled_from(["PushEvent", "CreateEvent", "DeleteEvent", "ForkEvent"])


@st.composite
def spoiled(draw):
    """An event of whatever type, with any JSON in any of its fields."""
    item = pushed() | {"type": draw(KINDS), "id": draw(st.just("99") | JSON)}
    item["payload"].update(ref_type="branch", full_ref="refs/heads/other")
    item["payload"].update(draw(st.dictionaries(PAYLOAD, JSON, max_size=3)))
    item.update(draw(st.dictionaries(FIELDS, JSON, max_size=2)))
    for name in draw(st.sets(FIELDS, max_size=2)):
        del item[name]
    return item


@given(st.lists(JSON | spoiled(), max_size=4), st.lists(JSON | spoiled(), max_size=4))
def test_no_json_stops_it_or_hides_a_good_event(before, after):
    good = pushed() | {"id": "good"}
    found = read([*before, good, *after], NOW)
    assert Event("good", AT, *PUSH[2:]) in found.events
    for one in found.events:
        assert one.id in found.ids
        json.dumps(one)
        one.ref.encode()
    json.dumps(found.ids)
    assert all(isinstance(at, int) and at <= NOW for at in found.ids.values())
