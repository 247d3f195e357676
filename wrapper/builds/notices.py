"""Tells people of a branch's verdicts: broken, changed, fixed, released.

What is owed is a file, OWNER/NAME/.owed/ID.json, until the target has taken it: so it
outlives us, and a crash sends a message at most twice, with the same id. The verdict
that a ref had last is in OWNER/NAME/verdicts.json.
"""

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wrapper.builds import journal, verdict
from wrapper.builds.deliver import Undelivered, deliver
from wrapper.builds.directory import Build, now, read_json, write_json
from wrapper.builds.records import Records
from wrapper.config.globs import matches
from wrapper.console import say

RETRY = 5.0  # seconds, twice as long each time
SELDOM = 900.0  # at most
GIVE_UP = 86400.0  # seconds
EVENTS = "broken", "changed", "fixed", "released"
SERVER = "server"  # its own event: whether it is ill, or well again

Message = dict[str, Any]


@dataclass
class _Owed:
    file: Path
    target: str
    message: Message
    since: float  # epoch seconds
    due: float = 0.0  # monotonic
    tries: int = 0


class Notices:
    """Sends in a thread of its own, to each target in order: none waits for another's
    troubles but by what one attempt takes.
    """

    def __init__(self, builds: Path) -> None:
        self._builds = builds
        self._owed: dict[str, list[_Owed]] = {}  # by target, the oldest first
        self._changed = threading.Condition()
        self._stopped = False
        for folder in "[!.]*/*/.owed", ".owed":
            for file in sorted(builds.glob(f"{folder}/*.json")):
                self._load(file)
        threading.Thread(target=self._work, name="notices", daemon=True).start()

    def note(self, build: Build, result: dict[str, Any]) -> None:
        """A build has ended. What is to be told of it is on the disk afterwards."""
        wanted = _wanted(build)
        record = Records().of(build).document()
        verdicts = build.path.parent / "verdicts.json"
        known = read_json(verdicts) or {}
        refs = known.get("refs")
        refs = refs if isinstance(refs, dict) else {}
        before = refs.get(build.ref)
        for event in events(record, before):
            if event in wanted.get("on", ()):
                for target in wanted["to"]:
                    self._owe(build, event, target, record, before)
        if _is_verdict(record) and not _is_older(record, before):
            write_json(verdicts, {"refs": refs | {build.ref: record}})

    def tell_of_server(self, target: str, title: str, text: str) -> None:
        """Owes a target a word of the server itself. Raises OSError."""
        message = message_of(
            f"msg_{time.time_ns()}-{SERVER}-{target}", SERVER, None, None
        )
        message |= {"title": f"docker-build-server on {title}", "text": text}
        self._write(self._builds / ".owed", target, message)

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _owe(
        self,
        build: Build,
        event: str,
        target: str,
        record: Message,
        before: Message | None,
    ) -> None:
        at = re.sub(r"\D", "", str(record["finished_at"]))
        id = f"msg_{build.id}-{at}-{event}-{target}"
        message = message_of(id, event, record, before)
        self._write(build.path.parent / ".owed", target, message)

    def _write(self, folder: Path, target: str, message: Message) -> None:
        folder.mkdir(exist_ok=True)
        file = folder / f"{message['id']}.json"
        write_json(file, {"target": target, "since": time.time(), "message": message})
        self._load(file)

    def _load(self, file: Path) -> None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            document = read_json(file) or {}
            target, since = str(document["target"]), float(document["since"])
            owed = _Owed(file, target, document["message"], since)
            with self._changed:
                queue = self._owed.setdefault(target, [])
                if file not in [one.file for one in queue]:
                    queue.append(owed)
                self._changed.notify_all()

    def _work(self) -> None:
        while not self._stopped:
            with self._changed:
                heads = [queue[0] for queue in self._owed.values() if queue]
                owed = min(heads, key=lambda one: one.due, default=None)
                left = owed.due - time.monotonic() if owed else None
                if owed is None or (left and left > 0):
                    self._changed.wait(left)
                    continue
            self._try(owed)

    def _try(self, owed: _Owed) -> None:
        folder = owed.file.parent.parent.relative_to(self._builds)
        repository = SERVER if folder == Path() else str(folder)
        try:
            deliver(owed.target, owed.message)
        except Undelivered as e:
            owed.tries += 1
            if not e.final and time.time() - owed.since < GIVE_UP:
                if owed.tries == 1:
                    say(repository, f"{owed.target} is not told yet: {e}")
                wait = min(RETRY * 2 ** (owed.tries - 1), SELDOM)
                owed.due = time.monotonic() + wait
                return
            why = f"{owed.target} was never told of {owed.message['event']}: {e}"
            journal.tell(self._builds, repository, "untold", why)
        except Exception as e:  # never the end of the thread
            say(repository, f"{owed.target} cannot be told: internal error: {e!r}")
        with self._changed:
            self._owed[owed.target].remove(owed)
        with suppress(OSError):
            owed.file.unlink(missing_ok=True)


def events(record: Message, before: Message | None) -> Iterator[str]:
    """What a verdict is after the one before it, of the same ref."""
    if _is_verdict(record) and not _is_older(record, before):
        red = record["status"] != "success"
        was_red = before is not None and before["status"] != "success"
        if red and not was_red:
            yield "broken"
        elif red and before and _reason(record) != _reason(before):
            yield "changed"
        elif not red and was_red:
            yield "fixed"
    version = str(record["version"] or "")
    if record["status"] == "success" and re.fullmatch(r"\d+\.\d+\.\d+", version):
        tags = [str(name).partition("@")[0] for name in record["pushed"]]
        if any(tag.endswith(f":{version}") for tag in tags):
            yield "released"


def message_of(
    id: str, event: str, record: Message | None, before: Message | None
) -> Message:
    """What a target is sent, as design/http.md has it."""
    title, text = f"docker-build-server: {event}", "This is only a test."
    if record:
        ref = str(record["ref"] or "")
        name = ref.removeprefix("refs/heads/").removeprefix("refs/")
        words = {"broken": "is broken", "changed": "is still broken, otherwise"}
        how = words.get(event, f"is {event}")
        what = record["failed_step"] or record["version"] or record["status"]
        title = f"{record['repository']} {name} {how}: {what}"
        lines = [record["message"], *(one["text"].strip() for one in record["failing"])]
        text = "\n".join(filter(None, lines)) or verdict.words(record)
    page = os.environ.get("PAGE_URL", "").rstrip("/")
    url = f"{page}/builds/{record['repository']}/{record['id']}" if record else page
    return {
        "format": 1,
        "id": id,
        "event": event,
        "time": now(),
        "title": title,
        "text": text,
        "build": record,
        "previous": before,
        "url": url if page else None,
    }


def _wanted(build: Build) -> dict[str, list[str]]:
    """The build's setting "notify"; {}: nobody is to be told."""
    to = _list(build, "to")
    branches = _list(build, "branches") or ["*"]
    branch = build.ref.removeprefix("refs/heads/")
    if not to or (branch != build.ref and not matches(branch, branches)):
        return {}
    return {"to": to, "on": _list(build, "on") or list(EVENTS)}


def _list(build: Build, key: str) -> list[str]:
    return [item for item in (build.setting(f"notify/{key}") or "").split("\0") if item]


def _is_verdict(record: Message) -> bool:
    return str(record["status"]) in ("success", "failure", "error")


def _is_older(record: Message, before: Message | None) -> bool:
    """Has a newer build of the ref had its verdict? Or is this the same end again?"""
    if before is None:
        return False
    same = bool(record["id"] == before["id"])
    return record["id"] < before["id"] or (
        same and record["finished_at"] == before["finished_at"]
    )


def _reason(record: Message) -> tuple[object, object]:
    return record["failed_step"], record["message"]
