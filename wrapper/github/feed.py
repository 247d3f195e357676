"""A repository's feed of events, read as far as it is new."""

import time
from typing import NamedTuple

from wrapper.github.client import GitHub, Page
from wrapper.github.errors import Trouble
from wrapper.github.events import Event, read

PAGES = 10  # at most; GitHub shows 300 events, and that is three
APART = 0.3  # seconds between two of them
MOST = 25_000  # events of a page, and of pages after which none is read


class News(NamedTuple):
    """What the feed shows that was not seen before."""

    ids: dict[str, int]  # every event's, with its time
    events: list[Event]  # those about refs
    gap: bool  # something may have been missed
    bad: dict[str, str]  # events that cannot be read, and why
    etag: str


def merged(earlier: News | None, later: News) -> News:
    """Two readings, of which the first is not handled yet."""
    if earlier is None:
        return later
    events = {e.id: e for e in (*earlier.events, *later.events)}
    return News(
        earlier.ids | later.ids,
        list(events.values()),
        earlier.gap or later.gap,
        earlier.bad | later.bad,
        later.etag,
    )


def without(fresh: News, seen: dict[str, int] | None) -> News:
    """But for the events that were handled since it was read."""
    known = seen or {}
    return fresh._replace(events=[e for e in fresh.events if e.id not in known])


def news(github: GitHub, page: Page, seen: dict[str, int] | None) -> News:
    """Follows the pages until one brings nothing new. Raises Trouble.

    seen: None for the first reading, which only learns what there is. Nothing else is
    a sign of where to stop: ids and times are in no order, pages shift while they are
    read, and even an empty page can have another behind it.
    """
    found = News({}, [], False, {}, page.etag)
    known = seen or {}
    for number in range(PAGES):
        shown = read((page.events or [])[:MOST])
        fresh = shown.ids.keys() - known.keys()
        found.ids.update(shown.ids)
        if seen is not None:
            found.events.extend(e for e in shown.events if e.id in fresh)
            bad = {i: why for i, why in shown.bad.items() if i not in known}
            found.bad.update(bad)
        if not page.next or (shown.ids and not fresh) or number == PAGES - 1:
            break
        if len(found.ids) >= MOST:
            found = found._replace(gap=True)
            break
        time.sleep(APART)
        try:
            page = github.page(page.next)
        except Trouble as e:
            if e.code != 422:  # that is what a page behind the last one answers
                raise
            break
    # Of a first reading nobody knows what was handled before, or since.
    overlap = not known or known.keys() & found.ids.keys()
    gap = bool(found.ids) and (seen is None or not overlap)
    return found._replace(gap=found.gap or gap or bool(found.bad))
