"""What is to be built becomes a build directory; what is not, a line in the journal."""

import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from wrapper.builds import journal
from wrapper.builds.directory import Build, builds_in
from wrapper.builds.process import Failed, call
from wrapper.config.globs import matches
from wrapper.config.load import Settings
from wrapper.github.errors import Trouble
from wrapper.github.events import Event
from wrapper.pushes.moves import Head, Move, repeats
from wrapper.pushes.state import State
from wrapper.version import rules as release

PATIENCE = 60.0  # seconds for a remote's refs
MOST = 300  # pushes of a ref that one round stages; GitHub shows no more events
SINGLY = 20  # lines of the journal of one kind that a round writes one by one


class Heads(NamedTuple):
    """What a remote has."""

    refs: dict[str, str]  # branches and tags, in full, with their commits
    default: str | None  # the name of its default branch; None: not asked for, or none


def heads(url: str, with_default: bool = False) -> Heads:
    """Where a remote's branches and tags are. Raises Trouble.

    with_default: its default branch too, with which git sends all its other refs.
    """
    try:
        which = ["--symref"] if with_default else ["--heads", "--tags"]
        words = ["ls-remote", *which, "--", url]
        printed = call("lib/remote-git.sh", *words, limit=PATIENCE)
    except Failed as e:
        closed = re.search("could not read Username|not found|denied|failed", str(e))
        hint = " (does it exist, and may the token read it?)" if closed else ""
        raise Trouble(f"git cannot read it{hint}: {e}") from None
    found, default = {}, None
    for line in printed.split("\n"):
        commit, _, ref = line.partition("\t")
        if ref == "HEAD" and commit.startswith("ref: refs/heads/"):
            default = commit.removeprefix("ref: refs/heads/")
        # An annotated tag comes twice; what it peels to is the second.
        elif ref.startswith(("refs/heads/", "refs/tags/")):
            found[ref.removesuffix("^{}")] = commit
    return Heads(found, default)


def excluded(settings: Settings, ref: str, default: str | None = None) -> str | None:
    """The rule by which a ref is not built; None where it is.

    default: the name of the remote's default branch
    """
    _, kind, name = ref.split("/", 2)
    kind, key = ("branch", "branches") if kind == "heads" else ("tag", "tags")
    globs = settings.branches if key == "branches" else settings.tags
    if not matches(name, globs, default):
        return f'{kind} {name} is none of "{key}"'
    if key == "tags" and not release.tagged(name, settings.tag_prefix):
        return f"tag {name} is no SemVer (like {settings.tag_prefix or 'v'}1.2.3)"
    if not name.isascii() and "\udc80" <= max(name) <= "\udfff":
        return f"the name of {kind} {name!a} is not UTF-8"
    return None


def stage(
    name: str,
    settings: Settings,
    builds: Path,
    ref: str,
    commit: str | None = None,
    **why: str,
) -> Build:
    """Writes a build directory through stage.sh. why: SOURCE, EVENT, BEFORE.

    Without a commit the remote is asked. Raises Failed: 75 temporary, else refused.
    """
    resolved = json.dumps({"builds": str(builds), "settings": settings.document})
    words = [w for w in (ref, commit) if w]
    printed = call("stage.sh", name, *words, env={"SETTINGS": resolved, **why})
    return Build(Path(printed.strip()))


def wake(builds: Path) -> None:
    """Has the queue look at once, once it was told what there is."""
    with suppress(OSError):
        (builds / ".wake").touch()


class Line(NamedTuple):
    """A line of the journal, that it be written once."""

    what: str
    ref: str | None
    commit: str | None


class Stager:
    """Handles the moves of one repository's refs, and notes each in its state.

    For one round; finish() ends it.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        builds: Path,
        state: State,
        written: set[Line],
    ) -> None:
        """written: what rounds that failed have left in the journal."""
        self.default: str | None = None  # the remote's default branch, where it matters
        self.staged: list[Build] = []
        self.lag: float | None = None  # seconds from the newest push to its staging
        self._name, self._settings = name, settings
        self._builds, self._state, self._written = builds, state, written
        self._told: dict[str, list[Line]] = {}  # in this round, by what
        self._built: set[tuple[str, str]] | None = None  # refs and commits

    def note(self, found: dict[str, str]) -> None:
        """The first look: what is there already is not built."""
        self._state.refs = found
        branches = [
            r for r in found if r.startswith("refs/heads/") and not self._excluded(r)
        ]
        why = "seen for the first time, the next push will be built; now: "
        for ref in branches:
            now = f"docker-build-server trigger {self._name} {ref.split('/', 2)[2]}"
            self.tell("noted", why + now, ref, found[ref])
        if not branches:
            self.tell("noted", 'seen for the first time; no branch of "branches" yet')

    def complete(self, found: dict[str, str], known: dict[str, str]) -> dict[str, str]:
        """After a loss of the state: refs that no build is of are taken for handled."""
        lost = {ref: commit for ref, commit in found.items() if ref not in known}
        for ref, commit in lost.items():
            if not self._excluded(ref):
                self.tell("noted", "no build of it is known", ref, commit)
        return lost | known

    def handle(self, move: Move, events: Mapping[str, Event]) -> None:
        """Stages a move's commits, or says why not; events: by id.

        Raises Failed where it is to be tried again.
        """
        refs = self._state.refs
        assert refs is not None
        if not move.came:
            self.tell("forgot", "the ref is gone", move.ref, refs.pop(move.ref))
            return
        *passed, last = move.came
        tip = last.commit
        rule = self._excluded(move.ref)
        if rule:
            for head in move.came:
                self.tell("skipped", rule, move.ref, head.commit)
        elif self._settings.superseded == "build":
            self._pass_over(move.ref, passed[:-MOST], tip)
            built = [
                Head(b.commit, b.event)
                for b in builds_in(self._state.folder)
                if b.ref == move.ref
            ]
            for head in passed[-MOST:]:
                if not repeats(head, built):
                    self._stage(move.ref, head, events)
            self._stage(move.ref, last, events)
        else:
            self._pass_over(move.ref, passed, tip)
            if tip != move.before:
                self._stage(move.ref, last, events)
        refs[move.ref] = tip

    def miss(self, event: Event) -> None:
        """A push whose event came late. Built now, it would move its branch's image
        tag back; so it is only told of, unless it was built without its event.
        """
        if self._built is None:
            self._built = {(b.ref, b.commit) for b in builds_in(self._state.folder)}
        if (event.ref, event.head) not in self._built:
            why = f"a newer push was handled before event {event.id} came"
            rule = self._excluded(event.ref)
            what = "skipped" if rule else "superseded"
            self.tell(what, rule or why, event.ref, event.head)

    def finish(self) -> None:
        """Tells how many lines more there were than were written one by one."""
        for what, lines in self._told.items():
            more = len(lines) - SINGLY
            if more > 0:
                names = ", ".join(
                    f"{x.ref} at {(x.commit or '')[:7]}" for x in lines[-3:]
                )
                why = f"{more} more, for the like reasons, the last of them: {names}"
                journal.tell(self._builds, self._name, what, why, count=more)

    def _excluded(self, ref: str) -> str | None:
        return excluded(self._settings, ref, self.default)

    def _pass_over(self, ref: str, heads: list[Head], tip: str) -> None:
        for head in heads:
            why = f"a newer push was there already: {tip[:7]}"
            self.tell("superseded", why, ref, head.commit)

    def _stage(self, ref: str, head: Head, events: Mapping[str, Event]) -> None:
        refs = self._state.refs
        assert refs is not None
        commit, event = head
        told = events.get(event or "")
        before = refs.get(ref, "")
        # An event of a push that began elsewhere does not tell how the ref came there.
        one_push = event and (told is None or told.before in ("", before))
        source = "event" if one_push else "sweep"
        try:
            build = stage(
                self._name,
                self._settings,
                self._builds,
                ref,
                commit,
                SOURCE=source,
                EVENT=event or "",
                BEFORE=before,
            )
        except Failed as e:
            if e.code not in (1, 2):
                raise
            self.tell("skipped", f"stage.sh refuses it: {e}", ref, commit)
        else:
            self.staged.append(build)
            self._state.newest = build.id
            why = "found by comparing with git"
            if told:
                self.lag = time.time() - told.at
                why = f"event {event}, {self.lag:.0f} s after the push"
            journal.tell(self._builds, self._name, "staged", why, build=build)
            wake(self._builds)
        refs[ref] = commit

    def tell(
        self, what: str, why: str, ref: str | None = None, commit: str | None = None
    ) -> None:
        """A line of the journal; of many of one kind there is one for the rest."""
        line = Line(what, ref, commit)
        if line in self._written:
            return
        self._written.add(line)
        self._told.setdefault(what, []).append(line)
        if len(self._told[what]) <= SINGLY:
            journal.tell(self._builds, self._name, what, why, ref, commit)
