"""What a page of GitHub's events says about refs; any of it can be malformed."""

import re
import time
from datetime import UTC, datetime
from typing import Any, NamedTuple

_OBJECT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_KINDS = {"PushEvent": "push", "CreateEvent": "create", "DeleteEvent": "delete"}


class Event(NamedTuple):
    """One thing that happened to a ref. Only a push tells its commits."""

    id: str
    at: int  # epoch seconds
    kind: str  # push, create or delete
    ref: str  # full
    before: str = ""
    head: str = ""


class Read(NamedTuple):
    """What a page holds."""

    ids: dict[str, int]  # every event's id and time, of whatever type
    events: list[Event]  # those about refs
    bad: dict[str, str]  # what could not be read: its id, or what there is, and why


def read(page: list[Any], now: float | None = None) -> Read:
    """Reads a page of events, in the shapes of any year, each on its own."""
    result = Read({}, [], {})
    latest = int(time.time() if now is None else now)
    for item in page:
        try:
            event_id = _id(item["id"])
            at = min(_time(item.get("created_at")) or latest, latest)
            result.ids[event_id] = at
            if kind := _KINDS.get(item["type"]):
                event = _event(event_id, at, kind, item["payload"])
                if event:
                    result.events.append(event)
        except (ValueError, TypeError, LookupError, AttributeError) as e:
            name = item.get("id") if isinstance(item, dict) else item
            result.bad[f"{name!s:.64}"] = f"{type(e).__name__} {e!s:.80}"
    return result


def _id(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not (isinstance(value, str) and re.fullmatch(r"[!-~]{1,64}", value)):
        raise ValueError("no id")
    return value


def _time(value: Any) -> int:
    """Epoch seconds, or 0 where it cannot be read."""
    try:
        moment = datetime.fromisoformat(value)
        return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())
    except (TypeError, ValueError, OverflowError):
        return 0


def _event(event_id: str, at: int, kind: str, payload: dict[str, Any]) -> Event | None:
    if kind == "push":
        before, head = payload.get("before") or "", payload["head"]
        ref = _ref(payload["ref"])
        if not _OBJECT.fullmatch(head) or (before and not _OBJECT.fullmatch(before)):
            raise ValueError("no commit")
        if not head.strip("0"):
            return Event(event_id, at, "delete", ref)
        before = before if before.strip("0") else ""
        return None if before == head else Event(event_id, at, kind, ref, before, head)
    kinds = {"branch": "refs/heads/", "tag": "refs/tags/", "repository": None}
    prefix = kinds[payload["ref_type"]]
    if prefix is None:
        return None
    return Event(
        event_id, at, kind, _ref(payload.get("full_ref") or prefix + payload["ref"])
    )


def _ref(value: Any) -> str:
    if not (isinstance(value, str) and re.match(r"refs/(heads|tags)/.", value)):
        raise ValueError("no full ref")
    value.encode()  # a lone surrogate is no name
    return value
