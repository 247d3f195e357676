"""Where refs have moved: from what git shows, and what the feed tells of how."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wrapper.github.events import Event
from wrapper.pushes.moves import (
    Head,
    Move,
    chain,
    compare,
    passed,
    path,
    repeats,
    shown,
)

REF = "refs/heads/main"


def push(number, before, head, at=0, ref=REF):
    return Event(str(number), at, "push", ref, before, head)


def create(number, ref=REF, at=0):
    return Event(str(number), at, "create", ref)


def delete(number, ref=REF, at=0):
    return Event(str(number), at, "delete", ref)


def commits(moves):
    return [(m.ref, [commit for commit, _ in m.came]) for m in moves]


def test_a_push_is_a_move_with_its_event():
    moves, late = compare({REF: "a"}, {REF: "b"}, [push(1, "a", "b")])
    assert moves == [Move(REF, "a", [Head("b", "1")])]
    assert late == []


def test_a_push_without_event_is_a_move_without():
    moves, _ = compare({REF: "a"}, {REF: "b"}, [])
    assert moves == [Move(REF, "a", [Head("b", None)])]


def test_nothing_moves_where_all_is_handled():
    events = [push(2, "a", "b"), push(1, "z", "a")]
    assert compare({REF: "b"}, {REF: "b"}, events) == ([], [])


def test_a_burst_is_ordered_by_its_commits_not_by_ids_or_times():
    burst = [push(5, "a", "b", 9), push(3, "b", "c", 9), push(4, "c", "d", 8)]
    moves, late = compare({REF: "a"}, {REF: "d"}, reversed(burst))
    assert moves == [Move(REF, "a", [Head("b", "5"), Head("c", "3"), Head("d", "4")])]
    assert late == []


def test_pushes_told_of_after_a_newer_one_was_handled():
    handled, heads = {REF: "d"}, {REF: "d"}
    events = [push(1, "b", "c"), push(2, "c", "d"), push(3, "d", "e"), delete(4)]
    moves, late = compare(handled, heads, events)
    assert (moves, late) == ([], [events[2]])
    assert passed(handled, moves, late, events) == [events[0]]


def test_pushes_on_the_way_are_not_passed():
    handled, events = {REF: "a"}, [push(1, "a", "b"), push(2, "b", "c")]
    moves, late = compare(handled, {REF: "c"}, events)
    assert passed(handled, moves, late, events) == []


def test_a_new_branch_is_credited_to_its_creation():
    moves, _ = compare({}, {REF: "a"}, [create(1)])
    assert moves == [Move(REF, None, [Head("a", "1")])]


def test_a_new_branch_pushed_to_at_once_began_where_the_push_says():
    moves, _ = compare({}, {REF: "b"}, [push(2, "a", "b"), create(1)])
    assert moves == [Move(REF, None, [Head("a", "1"), Head("b", "2")])]


def test_a_push_that_nobody_told_of_shows_as_the_next_ones_before():
    moves, _ = compare({REF: "a"}, {REF: "c"}, [push(2, "b", "c")])
    assert commits(moves) == [(REF, ["b", "c"])]


def test_a_push_newer_than_the_feed_comes_last():
    moves, late = compare({REF: "a"}, {REF: "c"}, [push(1, "a", "b")])
    assert moves == [Move(REF, "a", [Head("b", "1"), Head("c", None)])]
    assert late == []


def test_what_git_does_not_show_yet_is_late():
    first, second = push(1, "a", "b"), push(2, "b", "c")
    assert compare({REF: "a"}, {REF: "a"}, [first]) == ([], [first])
    moves, late = compare({REF: "a"}, {REF: "b"}, [second, first])
    assert commits(moves) == [(REF, ["b"])]
    assert late == [second]
    assert compare({}, {}, [create(3)]) == ([], [create(3)])


def test_an_event_of_a_push_that_git_has_left_behind_moves_nothing():
    old = push(1, "a", "b")
    assert compare({REF: "c"}, {REF: "c"}, [old]) == ([], [old])


def test_a_branch_pushed_back_to_an_old_commit_moves():
    moves, _ = compare({REF: "b"}, {REF: "a"}, [push(1, "b", "a")])
    assert moves == [Move(REF, "b", [Head("a", "1")])]


def test_there_and_back_between_two_looks():
    there, back = push(1, "a", "b", 1), push(2, "b", "a", 2)
    moves, late = compare({REF: "a"}, {REF: "a"}, [back, there])
    assert moves == [Move(REF, "a", [Head("b", "1"), Head("a", "2")])]
    assert late == []


def test_a_deleted_ref_is_gone_and_nothing_waits_for_it():
    events = [delete(3, at=2), push(2, "a", "b", 1), create(1)]
    assert compare({REF: "a"}, {}, events) == ([Move(REF, "a", [])], [])


def test_a_ref_made_again_after_its_deletion_is_waited_for():
    again = create(4, at=3)
    moves, late = compare({REF: "a"}, {}, [delete(3, at=2), again])
    assert moves == [Move(REF, "a", [])]
    assert late == [again]


def test_refs_do_not_mix():
    tag = "refs/tags/main"
    moves, _ = compare(
        {REF: "a"}, {REF: "b", tag: "b"}, [create(2, tag), push(1, "a", "b")]
    )
    assert moves == [
        Move(REF, "a", [Head("b", "1")]),
        Move(tag, None, [Head("b", "2")]),
    ]


def test_the_same_event_twice_is_one():
    moves, _ = compare({REF: "a"}, {REF: "b"}, [push(1, "a", "b")] * 2)
    assert commits(moves) == [(REF, ["b"])]


NAMES = st.sampled_from("abcde")


@given(
    st.lists(st.builds(push, st.integers(0, 99), NAMES, NAMES, st.integers(0, 3))),
    st.none() | NAMES,
    st.none() | NAMES,
)
def test_any_events_at_all_end_at_the_tip(events, handled, tip):
    ordered = chain(events, handled)
    assert sorted(ordered) == sorted(events)
    count = shown(ordered, tip, handled)
    assert 0 <= count <= len(events)
    if tip is not None:
        came = path(ordered[:count], tip, handled)
        assert (came[-1][0] if came else handled) == tip


@st.composite
def histories(draw):
    """A branch's commits ("0", "1", ...), and looks at it: its tip, the events shown.

    Every event shows once, at any look after its push, in any order; or never.
    """
    looks = sorted(draw(st.lists(st.integers(1, 12), min_size=1, max_size=6)))
    shows: list[list[Event]] = [[] for _ in looks]
    for number in range(1, looks[-1] + 1):
        possible = [i for i, look in enumerate(looks) if look >= number]
        when = draw(st.none() | st.sampled_from(possible))
        if when is not None:
            name = f"{draw(st.integers(0, 10**6))}-{number}"
            at = draw(st.integers(0, 2))
            shows[when].append(push(name, str(number - 1), str(number), at))
    return [
        (str(tip), draw(st.permutations(told)))
        for tip, told in zip(looks, shows, strict=True)
    ]


@given(histories())
def test_no_head_is_handled_twice_and_none_that_git_showed_is_left_out(history):
    handled = {REF: "0"}
    done: list[Head] = []
    waiting: list[Event] = []
    for tip, told in history:
        moves, waiting = compare(handled, {REF: tip}, [*waiting, *told])
        for move in moves:
            *way, last = move.came
            done += [step for step in way if not repeats(step, done)]
            done.append(last)
        handled[REF] = tip
    built = [commit for commit, _ in done]
    assert "0" not in built  # that was there before the first look
    assert len(built) == len(set(built))
    assert {tip for tip, _ in history} <= set(built)


@given(histories())
def test_with_a_feed_that_is_complete_every_push_is_handled_in_order(history):
    done: list[str] = []
    handled = {REF: "0"}
    for tip, _ in history:
        new = range(int(handled[REF]) + 1, int(tip) + 1)
        told = [push(n, str(n - 1), str(n)) for n in new]
        moves, late = compare(handled, {REF: tip}, reversed(told))
        done += [commit for m in moves for commit, _ in m.came]
        handled[REF] = tip
        assert not late
    assert done == [str(n) for n in range(1, int(history[-1][0]) + 1)]


def one_by_one(pushes, start):
    """chain(), going through all that is left for each."""
    rest = sorted(pushes, key=lambda e: (e.at, len(e.id), e.id))
    ordered: list[Event] = []
    while rest:
        at = ordered[-1].head if ordered else None
        heads = {e.head for e in rest}

        def wish(e, at=at, heads=heads):
            return (e.before != at, e.before in heads, e.before != start)

        ordered.append(min(rest, key=wish))
        rest.remove(ordered[-1])
    return ordered


@given(
    st.lists(
        st.builds(
            push,
            st.integers(0, 20),
            st.sampled_from(["", *"abcde"]),
            st.sampled_from("fabcd"),
            st.integers(0, 3),
        ),
        max_size=9,
    ),
    st.sampled_from([None, *"abcdef"]),
)
def test_the_order_of_pushes_is_that_of_a_plain_search(pushes, start):
    assert chain(pushes, start) == one_by_one(pushes, start)


@pytest.mark.parametrize(
    "shape",
    [
        lambda i: (f"{i:040x}", f"{i + 1:040x}"),
        lambda i: (f"{7:040x}", f"{i + 9:040x}"),
        lambda i: (f"{i % 2:040x}", f"{(i + 1) % 2:040x}"),
        lambda i: (f"{2 * i:040x}", f"{2 * i + 1:040x}"),
    ],
    ids=["a chain", "a star", "to and fro", "pieces"],
)
def test_twenty_thousand_pushes_of_a_ref_cost_no_second(shape):
    pushes = [push(i, *shape(i)) for i in range(20_000)]
    random.Random(7).shuffle(pushes)
    begin = time.process_time()
    moves, late = compare({REF: f"{0:040x}"}, {REF: f"{20_000:040x}"}, pushes)
    passed({}, moves, late, pushes)
    assert time.process_time() - begin < 1
