"""How far a feed is read."""

import pytest

from tests.wrapper.test_events import pushed
from wrapper.github import feed
from wrapper.github.client import GitHub, Page
from wrapper.github.errors import Trouble


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(feed, "APART", 0)


def events(*numbers):
    return [pushed() | {"id": str(n)} for n in numbers]


class Pages(GitHub):
    """GitHub's pages after the first, as lists of ids or troubles."""

    def __init__(self, *pages):
        self.pages = list(pages)
        self.asked = []

    def page(self, url, etag=""):
        self.asked.append(int(url))
        found = self.pages[int(url)]
        if isinstance(found, Trouble):
            raise found
        more = int(url) + 1 < len(self.pages)
        following = str(int(url) + 1) if more else None
        return Page(events(*found), f"etag {url}", following, None, None)


def news(seen, *pages):
    hub = Pages(*pages)
    known = None if seen is None else {str(n): 0 for n in seen}
    found = feed.news(hub, hub.page("0"), known)
    return found, hub.asked[1:]


def ids(found):
    return [int(e.id) for e in found.events]


def test_it_stops_where_a_page_brings_nothing_new():
    found, asked = news([1, 2, 3], [5, 4, 3], [2, 1], [0])
    assert ids(found) == [5, 4]
    assert asked == [1]
    assert not found.gap


def test_a_first_page_without_news_is_enough():
    found, asked = news([3, 2, 1], [3, 2], [1])
    assert (found.events, asked, found.gap) == ([], [], False)


def test_order_is_no_sign_of_where_to_stop():
    found, _ = news([4], [4, 9, 4, 2], [4])
    assert ids(found) == [9, 2]


def test_an_empty_page_can_have_another_behind_it():
    found, asked = news([1], [3], [], [2, 1])
    assert ids(found) == [3, 2]
    assert asked == [1, 2]


def test_what_shifts_between_two_pages_counts_once():
    found, _ = news([1], [4, 3], [3, 2], [1])
    assert sorted(set(ids(found))) == [2, 3, 4]


def test_a_window_without_anything_known_is_a_gap():
    found, asked = news([1], [9, 8], [7, 6])
    assert found.gap
    assert ids(found) == [9, 8, 7, 6]
    assert asked == [1]


def test_the_first_events_of_all_are_no_gap():
    assert not news([], [1])[0].gap


def test_a_first_reading_learns_every_page_and_asks_git():
    found, asked = news(None, [5, 4], [3], [2])
    assert asked == [1, 2]
    assert set(found.ids) == {"5", "4", "3", "2"}
    assert (found.events, found.gap) == ([], True)
    assert not news(None, [])[0].gap


def test_a_page_behind_the_last_is_the_end():
    found, _ = news([1], [3], Trouble("", code=422))
    assert ids(found) == [3]


def test_any_other_trouble_is_one():
    with pytest.raises(Trouble):
        news([1], [3], Trouble("", code=500))


def test_a_feed_without_end_is_not_followed_for_ever():
    found, asked = news([1], *([n] for n in range(100, 200)))
    assert len(asked) == feed.PAGES - 1
    assert found.gap


def test_an_event_that_cannot_be_read_is_a_gap_until_it_is_known():
    hub = Pages()
    page = Page([pushed(head=None), *events(1)], "", None, None, None)
    found = feed.news(hub, page, {"1": 0})
    assert found.gap and list(found.bad) == ["12700000001"]
    found = feed.news(hub, page, {"1": 0} | found.ids)
    assert not found.gap and found.bad == {}


def test_the_etag_is_the_first_pages():
    assert news([1], [3], [2], [1])[0].etag == "etag 0"
