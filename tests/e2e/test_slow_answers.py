"""What answers slowly, or too much, holds up nobody else."""

import re
import time
import zlib
from itertools import pairwise
from pathlib import Path

from tests.support.parts import Tree, wait_for
from wrapper.builds.directory import builds_in

ZIP = {"Content-Encoding": "gzip"}
SWEEP = 5


def bomb():
    """A megabyte that unzips to a gigabyte."""
    pack = zlib.compressobj(9, wbits=31)
    return b"".join(pack.compress(bytes(1 << 20)) for _ in range(1024)) + pack.flush()


def commits(builds, name):
    return [b.commit for b in builds_in(builds / name)]


def test_feeds_that_drip_and_one_that_swells(
    make_repo, configure, run_poller, builds, name, github
):
    dripping = [f"{name}-drip{i}" for i in range(16)]
    swelling, good = f"{name}-swell", f"{name}-good"
    names = [*dripping, swelling, good]
    trees: dict[str, Tree] = {n: make_repo(name=n) for n in names}
    config = configure(*names, poll={"interval": 1, "sweep": SWEEP})
    first = run_poller(config, "--once")
    assert first.process.wait(120) == 0, first.output
    for one in dripping:
        github.fault(f"/repos/{one}/events", times=-1, drip="body", every=4)
    body = bomb()
    assert len(body) < 2 << 20
    github.fault(
        f"/repos/{swelling}/events", times=-1, status=200, body=body, headers=ZIP
    )
    poller = run_poller(config)
    wait_for(lambda: all(asked(github, n) for n in dripping[:8]), what=poller.output)

    trees[good].commit()
    head = trees[good].push()
    poller.wait_for(lambda: head in commits(builds, good), SWEEP * 5)
    for one in dripping[3], swelling:
        trees[one].commit()
        trees[one].push()
    for one in dripping[3], swelling:
        poller.wait_for(lambda one=one: trees[one].head in commits(builds, one), 60)
    poller.said("GitHub answers with more than 10 MiB", 60)
    poller.said("GitHub answers too slowly: no end of it within 30 s", 60)

    # By now the slow ones are among themselves, and the feed is quick for others.
    trees[good].commit()
    begin = time.monotonic()
    head = trees[good].push()
    poller.wait_for(lambda: head in commits(builds, good), SWEEP * 5)
    assert time.monotonic() - begin < SWEEP * 2
    status = Path(f"/proc/{poller.process.pid}/status").read_text()
    [peak] = re.findall(r"VmHWM:\s*(\d+) kB", status)
    assert int(peak) < 100 << 10, status


def asked(github, name):
    return any(f"/repos/{name}/events" in r.path for r in github.requests[-200:])


def test_a_page_of_twenty_thousand_pushes_of_one_branch(watched, name, github):
    tree, poller = watched()
    github.hold(name)
    old, head = tree.head, tree.commit()
    tree.push()
    feed = github.repository(name)
    [event] = feed.held
    chain = [old, *(f"{i:040x}" for i in range(1, 20_000)), head]
    page = [
        event | {"id": str(i), "payload": event["payload"] | {"before": a, "head": b}}
        for i, (a, b) in enumerate(pairwise(chain))
    ]
    path = f"/repos/{name}/events"
    github.fault(path, times=-1, status=200, body=page, headers={"ETag": '"1"'})
    begin = time.process_time()
    poller.has(name, ("refs/heads/main", head))
    assert time.process_time() - begin < 30  # of the stand-in in this process, too
    lines = (poller.folder / "journal.jsonl").read_text().splitlines()
    assert len(lines) < 40
    assert '"count": 19979' in "".join(lines)
