"""What the poller remembers of a repository: builds/OWNER/NAME/state.json."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from wrapper.builds import verdict
from wrapper.builds.directory import Build, builds_in, read_json, write_json
from wrapper.github.events import Event

WINDOW = 31 * 86400  # seconds; GitHub shows events for 30 days
MOST = 5000  # ids kept, the newest; GitHub shows 300. Of a feed with more, twice those
LAST = 5  # successes of a ref whose seconds are kept


class ETag(NamedTuple):
    """What the feed bore when it was read last."""

    url: str = ""  # that it was read from
    value: str = ""
    read_at: float = 0  # epoch seconds, when it was read in full


class Waiting(NamedTuple):
    """An event that git does not show yet."""

    since: float  # epoch seconds
    event: Event


class Latest(NamedTuple):
    """What is known of a ref's builds without looking at them."""

    build: str  # id of the newest
    seconds: list[float]  # that its last successes took, the newest last
    built: str = ""  # commit of the last one that ended as success or failure


@dataclass
class State:
    folder: Path
    url: str = ""  # of the git remote the refs were read from
    refs: dict[str, str] | None = None  # commit last handled; None: never looked
    seen: dict[str, int] | None = None  # event id -> its time; None: feed never read
    waiting: list[Waiting] = field(default_factory=list)
    etag: ETag = field(default_factory=ETag)
    newest: str = ""  # id of the last build that the refs know of
    latest: Mapping[str, Latest] = field(default_factory=dict)  # by ref
    reading: int = 0  # ids in the feed when it was read last
    partial: bool = False  # refs lacks those that were never built

    def save(self) -> None:
        """Replaces the file, whole and synced."""
        seen = self.seen
        if seen is not None:
            oldest = time.time() - WINDOW
            most = max(MOST, 2 * self.reading)
            kept = sorted(seen.items(), key=lambda item: item[1])[-most:]
            seen = {i: at for i, at in kept if at > oldest}
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(
            self.folder / "state.json",
            {
                "url": self.url,
                "refs": self.refs,
                "seen": seen,
                "reading": self.reading,
                "waiting": self.waiting,
                "etag": self.etag,
                "newest": self.newest,
                "latest": _as_document(self.latest),
            },
        )


def load(folder: Path) -> State:
    """The state as saved, and what was staged since: a crash may lie between the two.

    Raises ValueError where the file is not ours, or a newer version's (Newer).
    """
    state = State(folder)
    document = read_json(folder / "state.json")
    if document is not None:
        try:
            state.url = document["url"]
            state.refs = document["refs"]
            state.seen = document["seen"]
            state.reading = int(document.get("reading", 0))
            waiting = document["waiting"]
            state.waiting = [Waiting(since, Event(*e)) for since, e in waiting]
            state.etag = ETag(*document["etag"])
            state.newest = document["newest"]
            latest = document.get("latest", {}).items()
            state.latest = {
                ref: Latest(e["build"], e["seconds"], e.get("built", ""))
                for ref, e in latest
            }
            _check(state)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ValueError(f"{folder}/state.json cannot be read") from None
    _learn_of_builds(state)
    return state


def _check(state: State) -> None:
    """Raises TypeError where a part of it is of another kind than it has to be."""
    refs = {} if state.refs is None else state.refs
    seen = {} if state.seen is None else state.seen
    texts = [state.url, state.newest, *state.etag[:2], *refs.values()]
    numbers = [state.etag.read_at, *seen.values()]
    for entry in state.latest.values():
        texts += [entry.build, entry.built]
        numbers += entry.seconds
    for since, event in state.waiting:
        texts += [event.id, event.kind, event.ref, event.before, event.head]
        numbers += [since, event.at]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("no text")
    if not all(isinstance(number, int | float) for number in numbers):
        raise TypeError("no number")


def from_builds(folder: Path) -> State:
    """What the builds there are tell of a state that cannot be read.

    Of refs without a build they do not know; nor of events, so the next reading of the
    feed is as the first.
    """
    state = State(folder, refs={}, partial=True)
    _learn_of_builds(state)
    builds = [b for b in builds_in(folder) if b.ours]
    state.url = str(builds[-1].info.get("url", "")) if builds else ""
    if not state.refs:
        state.refs, state.partial = None, False
    return state


def _learn_of_builds(state: State) -> None:
    """Those that were staged after it was saved."""
    for build in builds_in(state.folder, after=state.newest):
        if build.ours:
            status = (build.result() or {}).get("status")
            state.latest = noted(state.latest, build, {"status": status})
        if build.info.get("source") in ("event", "sweep") and build.place == build.id:
            state.newest = build.id
            if state.refs is not None:
                state.refs[build.ref] = build.commit
            if state.seen is not None and build.event:
                state.seen[build.event] = int(time.time())


def noted(
    latest: Mapping[str, Latest], build: Build, result: dict[str, Any] | None = None
) -> Mapping[str, Latest]:
    """With a build in it; result: once it has ended."""
    if not build.ref.startswith("refs/"):  # a commit that is on no ref, say
        return latest
    known = latest.get(build.ref, Latest("", []))
    times, built = known.seconds, known.built
    status = (result or {}).get("status")
    took = verdict.seconds(result) if result and status == "success" else None
    if took is not None:
        times = [*times, took][-LAST:]
    if status in ("success", "failure"):
        built = build.commit
    newest = max(known.build, build.id)
    return {**latest, build.ref: Latest(newest, times, built)}


def save_latest(folder: Path, latest: Mapping[str, Latest]) -> None:
    """Puts it into the file there is; the rest stays as it was saved."""
    document = read_json(folder / "state.json")
    if document:
        document["latest"] = _as_document(latest)
        write_json(folder / "state.json", document)


def _as_document(latest: Mapping[str, Latest]) -> dict[str, Any]:
    return {ref: entry._asdict() for ref, entry in latest.items()}
