"""What the page shows first, in one call; and health, in one word."""

from typing import Any

from starlette.responses import Response

from wrapper.web import branches
from wrapper.web.ask import Ask, answer
from wrapper.web.branches import Branch, Repository, is_red, summary
from wrapper.web.builds import unless_known
from wrapper.web.world import World


def overview(ask: Ask) -> Response:
    """Poller, red branches, what runs, what waits and why, repositories."""
    ask.parameters()
    world = ask.world
    configured = set(world.repositories())
    health = world.health().get("repositories", {})
    names = sorted({*configured, *world.stored()})
    known = [branches.look(world, name) for name in names]
    every = [(repo, branch) for repo in known for branch in repo.branches]
    red = [_red(r, b) for r, b in every if b.verdict and is_red(b.verdict)]
    opened = [record for repo in known for record in repo.open]
    running = [r for r in opened if r["status"] == "running"]
    waiting = [r for r in opened if r["status"] != "running"]
    green = sum(1 for _, b in every if b.verdict and not is_red(b.verdict))
    document = {
        "server": {
            "rights": sorted(ask.rights),
            "by": ask.by,
            "url": world.options.url,
        },
        "poller": world.poller(),
        "counts": {
            "red": len(red),
            "running": len(running),
            "waiting": len(waiting),
            "green": green,
        },
        "red": sorted(red, key=lambda row: row["build"]["finished_at"] or "")[::-1],
        "running": [_moving(record) for record in running],
        "waiting": [
            {"build": summary(r), "why": branches.why_it_waits(world, r, running)}
            for r in sorted(waiting, key=lambda record: record["id"])
        ],
        "repositories": [_row(world, repo, health, configured) for repo in known],
    }
    return unless_known(ask, document)


def _moving(record: dict[str, Any]) -> dict[str, Any]:
    """Without what changes from second to second: an ETag is to hold for a while."""
    return {"build": summary(record | {"seconds": None})}


def _red(repo: Repository, branch: Branch) -> dict[str, Any]:
    return {
        "ref": branch.ref,
        "since": branch.since,
        "build": summary(branch.verdict),
        "strip": branch.strip,
    }


def _row(
    world: World, repo: Repository, known: dict[str, Any], configured: set[str]
) -> dict[str, Any]:
    """known: what the poller has written of each; configured: their names."""
    branch = branches.main(repo)
    verdict = branch.verdict if branch else None
    newest = verdict or repo.newest or {}
    health = known.get(repo.name) or {}
    reds = sum(1 for b in repo.branches if b.verdict and is_red(b.verdict))
    return {
        "name": repo.name,
        "configured": repo.name in configured,
        "paused": world.paused(repo.name),
        "trouble": health.get("trouble") or None,
        "red": reds,
        "ref": branch.ref if branch else newest.get("ref"),
        "id": newest.get("id"),
        "status": newest.get("status"),
        "version": newest.get("version"),
        "seconds": newest.get("seconds") if newest.get("finished_at") else None,
        "finished_at": newest.get("finished_at"),
        "strip": branch.strip if branch else [],
    }


def health(ask: Ask) -> Response:
    """200 where the poller does its work, else 503: for a probe."""
    ask.parameters()
    found = ask.world.poller()
    well = found["running"] and not (found["held"] or found["configuration"])
    return answer({"ok": bool(well)} | found, 200 if well else 503)
