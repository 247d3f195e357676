"""What the poller remembers of a repository: builds/OWNER/NAME/state.json."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from wrapper.builds.directory import builds_in, read_json, write_json
from wrapper.github.events import Event

WINDOW = 31 * 86400  # seconds; GitHub shows events for 30 days
MOST = 5000  # ids kept, the newest; GitHub shows 300


class ETag(NamedTuple):
    """What the feed bore when it was read last."""

    url: str = ""  # that it was read from
    value: str = ""
    read_at: float = 0  # epoch seconds, when it was read in full


class Waiting(NamedTuple):
    """An event that git does not show yet."""

    since: float  # epoch seconds
    event: Event


@dataclass
class State:
    folder: Path
    url: str = ""  # of the git remote the refs were read from
    refs: dict[str, str] | None = None  # commit last handled; None: never looked
    seen: dict[str, int] | None = None  # event id -> its time; None: feed never read
    waiting: list[Waiting] = field(default_factory=list)
    etag: ETag = field(default_factory=ETag)
    newest: str = ""  # id of the last build that the refs know of

    def save(self) -> None:
        """Replaces the file, whole and synced."""
        seen = self.seen
        if seen is not None:
            oldest = time.time() - WINDOW
            kept = sorted(seen.items(), key=lambda item: item[1])[-MOST:]
            seen = {i: at for i, at in kept if at > oldest}
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(
            self.folder / "state.json",
            {
                "url": self.url,
                "refs": self.refs,
                "seen": seen,
                "waiting": self.waiting,
                "etag": self.etag,
                "newest": self.newest,
            },
        )


def load(folder: Path) -> State:
    """The state as saved, and what was staged since: a crash may lie between the two.

    Raises ValueError where the file is not ours.
    """
    state = State(folder)
    document = read_json(folder / "state.json")
    if document is not None:
        try:
            state.url = document["url"]
            state.refs = document["refs"]
            state.seen = document["seen"]
            waiting = document["waiting"]
            state.waiting = [Waiting(since, Event(*e)) for since, e in waiting]
            state.etag = ETag(*document["etag"])
            state.newest = document["newest"]
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{folder}/state.json cannot be read") from None
    for build in builds_in(folder, after=state.newest):
        if build.info.get("source") in ("event", "sweep"):
            state.newest = build.id
            if state.refs is not None:
                state.refs[build.ref] = build.commit
            if state.seen is not None and build.info.get("event"):
                state.seen[build.info["event"]] = int(time.time())
    return state
