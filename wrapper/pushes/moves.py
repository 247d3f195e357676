"""Where refs have moved, from what git shows and what the feed tells. Pure functions.

Git is the truth about now. The feed is a hint at how it came to that, and any of it can
be late, doubled, missing or out of order.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from functools import partial
from heapq import heappop, heappush
from typing import NamedTuple

from wrapper.github.events import Event


class Head(NamedTuple):
    """A commit that a ref came to."""

    commit: str
    event: str | None  # the id of the one that tells of it


class Move(NamedTuple):
    """A ref that is to be handled, or is gone."""

    ref: str
    before: str | None  # commit last handled
    came: list[Head]  # since then, the present one last; []: gone


def compare(
    handled: Mapping[str, str], heads: Mapping[str, str], events: Iterable[Event]
) -> tuple[list[Move], list[Event]]:
    """What has moved since handled, and the events that heads does not show yet."""
    by_ref: dict[str, list[Event]] = {}
    for event in {e.id: e for e in events}.values():
        by_ref.setdefault(event.ref, []).append(event)
    moved, late = [], []
    for ref in sorted({*handled, *heads, *by_ref}):
        hints = by_ref.get(ref, [])
        old, tip = handled.get(ref), heads.get(ref)
        pushes = chain((e for e in hints if e.kind == "push"), old)
        count = shown(pushes, tip, old)
        if tip is None:
            gone = max((e.at for e in hints if e.kind == "delete"), default=-1)
            late += [e for e in hints if e.kind != "delete" and e.at > gone]
            if old is not None:
                moved.append(Move(ref, old, []))
            continue
        late += pushes[count:]
        creation = next((e.id for e in hints if e.kind == "create"), None)
        came = path(pushes[:count], tip, old)
        if old is None and came and came[0].event is None:
            came[0] = Head(came[0].commit, creation)
        if came:
            moved.append(Move(ref, old, came))
    return moved, late


def passed(
    handled: Mapping[str, str],
    moved: Iterable[Move],
    late: Iterable[Event],
    events: Iterable[Event],
) -> list[Event]:
    """Pushes told of only after a newer one was handled; arguments as of compare."""
    known = {
        *handled.items(),
        *((m.ref, head.commit) for m in moved for head in m.came),
    }
    waiting = {e.id for e in late}
    return [
        e
        for e in events
        if e.kind == "push" and e.id not in waiting and (e.ref, e.head) not in known
    ]


def repeats(head: Head, built: Iterable[Head]) -> bool:
    """Was a commit on the way built already, for its event or before that came?

    built: what the ref's builds are of. An event can come hours late.
    """
    return any(
        b.commit == head.commit and (not head.event or b.event in (None, head.event))
        for b in built
    )


def chain(pushes: Iterable[Event], start: str | None) -> list[Event]:
    """The pushes of one ref in the order they happened, as their commits link them.

    Times and ids do not tell: bursts share a second. start, the commit last handled,
    decides where the pushes go round in a circle.
    """
    rest = _Unordered(sorted(pushes, key=lambda e: (e.at, len(e.id), e.id)), start)
    ordered: list[Event] = []
    at: str | None = None
    while event := rest.take(at):
        ordered.append(event)
        at = event.head
    return ordered


class _Unordered:
    """Pushes of one ref; which of them follows is told without going through all."""

    def __init__(self, pushes: list[Event], start: str | None) -> None:
        self._pushes, self._start = pushes, start
        self._taken = [False] * len(pushes)
        self._from: dict[str | None, deque[int]] = {}  # by the commit they began at
        self._heads: Counter[str | None] = Counter(e.head for e in pushes)  # not taken
        for number, event in enumerate(pushes):
            self._from.setdefault(event.before, deque()).append(number)
        self._first = 0
        # Numbers of those that no other leads to; rising, so a heap.
        self._roots = [n for n, e in enumerate(pushes) if not self._heads[e.before]]

    def take(self, at: str | None) -> Event | None:
        """The first that begins at a commit, else one that none leads to, else any; of
        these rather one that begins at start.
        """
        number = self._began_at(at)
        if number is None and not self._heads[self._start]:
            number = self._began_at(self._start)
        for look in self._root, partial(self._began_at, self._start), self._any:
            number = look() if number is None else number
        if number is None:
            return None
        self._taken[number] = True
        event = self._pushes[number]
        self._heads[event.head] -= 1
        if not self._heads[event.head]:
            for follower in self._from.get(event.head, ()):
                heappush(self._roots, follower)
        return event

    def _began_at(self, commit: str | None) -> int | None:
        waiting = self._from.get(commit, deque())
        while waiting and self._taken[waiting[0]]:
            waiting.popleft()
        return waiting[0] if waiting else None

    def _root(self) -> int | None:
        while self._roots and self._taken[self._roots[0]]:
            heappop(self._roots)
        return self._roots[0] if self._roots else None

    def _any(self) -> int | None:
        while self._first < len(self._taken) and self._taken[self._first]:
            self._first += 1
        return self._first if self._first < len(self._taken) else None


def shown(pushes: list[Event], tip: str | None, handled: str | None) -> int:
    """How many of the pushes, in order, the ref's present tip includes."""
    places = [i for i, e in enumerate(pushes) if e.before == tip]
    places += [i + 1 for i, e in enumerate(pushes) if e.head == tip]
    # A tip that no push tells of is newer than the feed, unless it is the old one.
    return max(places, default=0 if tip in (None, handled) else len(pushes))


def path(pushes: list[Event], tip: str, handled: str | None) -> list[Head]:
    """What the ref came by since handled, tip last.

    pushes: those that tip includes, in order.
    """
    begins = [i for i, e in enumerate(pushes) if e.before == handled]
    ends = [i + 1 for i, e in enumerate(pushes) if e.head == handled]
    new = pushes[min(begins + ends, default=0) :]
    leads = len(new)  # from here on each push leads to the next, and the last to tip
    goal = tip
    while leads and new[leads - 1].head == goal:
        leads -= 1
        goal = new[leads].before
    came: list[Head] = []
    at = handled
    for i, event in enumerate(new):
        # Where all pushes from here lead to the tip, the head before them is new too.
        if i >= leads and event.before not in ("", at):
            came.append(Head(event.before, None))
        came.append(Head(event.head, event.id))
        at = event.head
    if at != tip:
        came.append(Head(tip, None))
    return came
