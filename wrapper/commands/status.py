"""docker-build-server status: what is built now, how far, and what came of the rest."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from wrapper import screen
from wrapper.builds import overview
from wrapper.builds.directory import Build
from wrapper.builds.records import Record, Records
from wrapper.builds.store import Store
from wrapper.config.load import ConfigError, load
from wrapper.config.schema import steps

HEAD = "STATUS", "REPOSITORY", "REF", "VERSION", "WHEN", "TOOK", "SUBJECT"
HEAD_OF_ALL = "STATUS", "BUILD", "REF", "VERSION", "TOOK", "SUBJECT"


def run(
    builds: Path,
    repository: str | None = None,
    number: int = 30,
    all: bool = False,
    as_json: bool = False,
) -> int:
    """Prints the newest build of each ref, or all; those that run come first. 1: no
    such repository, or the builds may not be read. number: rows at most.
    """
    store, records = Store(builds), Records()
    running = store.running(repository)
    total = store.count(repository)
    if repository and not total and not _is_known(builds, repository):
        print(f"{repository} has no builds in {builds}", file=sys.stderr)
        return 1
    found = _rows(store, repository, running, all)
    most = total if all else number
    shown = list(islice(found, most))
    poller = overview.poller(builds, repository)
    if as_json:
        documents = [r.document() for r, _ in (_read(records, b) for b in shown) if r]
        print(json.dumps({"format": 1, "poller": poller, "builds": documents}))
        return int(str(builds) in store.closed)
    for words in overview.remarks(poller, builds):
        screen.text(words)
    if not total:
        _tell_how_to_start(builds)
    else:
        _table([_read(records, build) for build in shown], shown, all)
    for folder, reason in store.closed.items():
        screen.text(f"{folder}: {reason}")
    if not all and (older := total - len(shown)) > 0:
        print(f"{older} older build{'s' * (older > 1)} (-n N, or --all)")
    return int(str(builds) in store.closed)


def _rows(
    store: Store,
    repository: str | None,
    running: list[Build],
    all: bool,
) -> Iterator[Build]:
    """Builds, those that run first, then the newest; of each ref one, unless all."""
    known = {build.path for build in running}
    yield from running
    refs: set[tuple[str, str]] = set()
    candidates = store.newest(repository) if all else store.tips(repository)
    for build in candidates:
        try:
            ref = build.repository, build.ref
        except OSError:  # somebody else's: its row says so
            ref = build.repository, build.id
        if build.path not in known and (all or ref not in refs):
            yield build
        refs.add(ref)


def _read(records: Records, build: Build) -> tuple[Record | None, str]:
    """A build's record, or why it cannot be read."""
    try:
        return records.of(build), ""
    except OSError as e:
        return None, e.strerror or str(e)


def _table(
    found: list[tuple[Record | None, str]], builds: list[Build], all: bool
) -> None:
    rows, statuses = [], []
    for (record, reason), build in zip(found, builds, strict=True):
        statuses.append(record.status if record else "error")
        if record is None:
            cells = (
                [reason, build.name, *["-"] * 4]
                if all
                else [reason, build.repository, build.id, *["-"] * 4]
            )
            rows.append(cells)
            continue
        ref = short(record.ref)
        subject = ", ".join(filter(None, (record.subject, record.author))) or "-"
        rest = [ref, record.version or "-"]
        if all:
            rows.append([state(record), build.name, *rest, took(record), subject])
        else:
            at = screen.when(
                record.finished_at or record.started_at or record.staged_at
            )
            rows.append(
                [state(record), record.repository, *rest, at, took(record), subject]
            )
    screen.table(HEAD_OF_ALL if all else HEAD, rows, statuses)


def state(record: Record) -> str:
    """build 3/6, failure (unit-test), success"""
    names = steps()
    if record.status == "running" and record.step in names:
        return f"{record.step} {names.index(record.step) + 1}/{len(names)}"
    step = record.failed_step or record.step
    return f"{record.status} ({step})" if step else record.status


def took(record: Record) -> str:
    """12 s of about 40 s"""
    if record.seconds is None:
        return "-"
    usual = record.usual_seconds if record.status == "running" else None
    of = f" of about {screen.span(usual)}" if usual else ""
    return f"{screen.span(record.seconds)}{of}"


def short(ref: str | None) -> str:
    return (ref or "-").removeprefix("refs/heads/").removeprefix("refs/")


def _is_known(builds: Path, repository: str) -> bool:
    return (builds / repository / "state.json").is_file()


def _tell_how_to_start(builds: Path) -> None:
    screen.text(f"nothing was built yet in {builds}")
    names: list[str] = []
    with suppress(ConfigError, KeyError, OSError):  # which was said already
        names = list(load(os.environ["CONFIG"]).repositories)
    for name in names[:20]:
        screen.text(f"  {name}: docker-build-server trigger {name}")
    if len(names) > 20:
        print(f"  and {len(names) - 20} more")
