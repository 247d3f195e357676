"""What the branches of a repository are: red or green, since when, what ran lately."""

from typing import Any, NamedTuple

from wrapper.web.records import VERDICTS, Record
from wrapper.web.world import World

LOOKED_AT = 16  # of a repository's newest builds
STRIP = 12  # builds of a branch that are shown
OPEN = ("running", "queued", "interrupted")  # what a poller still has to do


class Branch(NamedTuple):
    ref: str
    verdict: Record | None  # the newest build that says green or red
    success: Record | None  # the newest of these
    since: str | None  # when the first of the verdicts of this colour came
    strip: list[dict[str, str]]  # the last dozen builds, the newest first


class Repository(NamedTuple):
    name: str
    newest: Record | None
    branches: list[Branch]
    open: list[Record]  # builds of a poller without a result, the oldest first


def look(world: World, name: str) -> Repository:
    """Reads no more than the newest builds, and each ref's newest."""
    folder = f"{world.builds}/{name}"
    latest = world.records.latest(folder)
    ids = world.store.ids(name)
    wanted = {*ids[:LOOKED_AT], *(str(e.get("build")) for e in latest.values())}
    wanted.intersection_update(ids)
    records = [world.records.at(f"{folder}/{id}") for id in sorted(wanted)[::-1]]
    by_ref: dict[str, list[Record]] = {}
    for record in records:
        # A ref that is gone is in no state; without a poller there is no state.
        ref = record["ref"] or ""
        if ref and (not latest or ref in latest):
            by_ref.setdefault(ref, []).append(record)
    branches = [_branch(ref, known) for ref, known in by_ref.items()]
    waiting = [r for r in records if r["status"] in OPEN]
    return Repository(name, records[0] if records else None, branches, waiting[::-1])


def _branch(ref: str, records: list[Record]) -> Branch:
    """records: the newest first."""
    verdicts = [r for r in records if r["status"] in VERDICTS]
    newest = verdicts[0] if verdicts else None
    since = None
    for each in verdicts:
        if newest and is_red(each) == is_red(newest):
            since = each["finished_at"]
        else:
            break
    strip = [{"id": r["id"], "status": r["status"]} for r in records[:STRIP]]
    success = next((r for r in verdicts if not is_red(r)), None)
    return Branch(ref, newest, success, since, strip)


def is_red(record: Record) -> bool:
    """An error is ours, and red nevertheless."""
    return record["status"] in ("failure", "error")


def main(repository: Repository) -> Branch | None:
    """The one that speaks for the repository: main or master, else the newest built."""
    heads = [b for b in repository.branches if b.ref.startswith("refs/heads/")]
    for name in "refs/heads/main", "refs/heads/master":
        for branch in heads:
            if branch.ref == name:
                return branch
    return heads[0] if heads else next(iter(repository.branches), None)


def why_it_waits(world: World, record: Record, running: list[Record]) -> str:
    """The same reasons for which the queue does not start it."""
    if not world.poller_runs():
        return "no poller runs"
    if world.paused():
        return "all builds are paused"
    if world.paused(record["repository"]):
        return "this repository is paused"
    if trouble := world.health().get("host"):
        return "; ".join(trouble)
    mine = [r for r in running if r["repository"] == record["repository"]]
    if mine:
        return f"after {mine[0]['id']}, which runs: one at a time of a repository"
    config = world.config()
    if config and len(running) >= config.concurrency:
        return f'{len(running)} builds run, as many as "concurrency" allows'
    return "its turn comes"


def summary(record: Record | None) -> dict[str, Any] | None:
    """What a row shows of a build: without what only its page has."""
    if record is None:
        return None
    short = {k: v for k, v in record.items() if k not in ("pushed", "failing")}
    message = record["message"]
    failing: list[Any] = (record["failing"] or [])[-2:]
    return short | {"message": message and message[:600], "failing": failing}
