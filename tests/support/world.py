"""A builds folder as weeks leave it, for who asks questions of it."""

import json
from pathlib import Path

from tests.wrapper.test_store import many
from wrapper.builds import journal
from wrapper.builds.directory import Build
from wrapper.builds.store import Store

LONG = "feat(a-rather-long-scope): 構築 what a subject can be, and then goes on and on"
TEXT = (
    "not ok 137 - adds up what a shopping cart holds, and takes a discount off that, "
    "which no other test does"
)
RED = {
    "format": 1,
    "status": "failure",
    "failed_step": "unit-test",
    "message": "unit-test.sh: npm test failed with exit code 1",
    "started_at": "2026-11-26T05:10:00Z",
    "finished_at": "2026-11-26T05:10:42Z",
    "failing": [{"line": 3, "offset": 30, "text": TEXT}],
}


def weeks(builds: Path, count: int) -> Build:
    """So many builds of 20 repositories, and their journal. Returns the newest, which
    is red, of a branch with a long name.
    """
    many(builds, count)
    with (builds / "journal.jsonl").open("w") as file:
        for number, build in enumerate(reversed(list(Store(builds).newest()))):
            digest = f"sha256:{number:064x}"
            at = "2026-11-26T05:10:42Z"
            about = {"time": at, "repository": build.repository, "build": build.id}
            about |= {"ref": build.ref, "commit": build.commit}
            version = f"1.0.{number}"
            tags = [version, "1.0", "1", "latest", "main"]
            named = [f"r:5000/{build.repository}:{tag}@{digest}" for tag in tags]
            pushed = {"pushed": named, "version": version}
            for line in (
                {"what": "staged", "why": f"event {number}, 2 s after the push"},
                {"what": "started", "why": "after 0 s in the queue"},
                {"what": "finished", "why": f"success: {version}"},
                {"what": "pushed", "why": f"{version} as {', '.join(tags)}"} | pushed,
            ):
                file.write(json.dumps(about | line) + "\n")
    [build] = list(Store(builds).newest("o/r1"))[:1]
    info = json.loads((build.path / "build.json").read_text())
    info["ref"] = "refs/heads/feature/with-a-name-that-somebody-thought-about-for-long"
    (build.path / "build.json").write_text(json.dumps(info))
    (build.path / "result.json").write_text(json.dumps(RED))
    (build.path / "commit").write_text(f"Ada Lovelace\n{LONG}\n")
    log = "pipeline.sh: == unit-test\n\x1b[31mnot ok\x1b[0m\n" + TEXT
    (build.path / "console.log").write_text(log + "\n")
    red = Build(build.path)
    why = "failure at unit-test: " + TEXT
    journal.tell(builds, red.repository, "finished", why, build=red)
    return red
