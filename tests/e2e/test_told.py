"""What people are told of real builds: the red test by its name, and each turn once."""

import json

from tests.support.parts import application, results
from tests.support.receiver import SECRET

TESTS = """
const test = require('node:test'); const { equal } = require('node:assert');
for (let i = 1; i <= 300; i++) test(`adds ${i}`, () => equal(i, i === 137 ? 0 : i));
"""


def test_of_300_tests_the_red_one_is_named(
    make_repo, configure, run_poller, builds, name, base_image, github
):
    files = application(base_image) | {"test.js": TESTS}
    tree = make_repo(files)
    github.token = "ghp_any"
    poller = run_poller(configure(name), GITHUB_TOKEN=github.token)
    poller.wait_for(lambda: (builds / name / "state.json").exists())
    commit = tree.commit({"more": ""})
    tree.push()
    poller.wait_for(
        lambda: [s for s in github.statuses if s["state"] == "failure"], 120
    )
    last = github.statuses[-1]
    assert last["sha"] == commit
    assert "not ok 137 - adds 137" in last["description"]
    assert len(last["description"]) <= 140
    [result] = results(builds, name)
    [line] = result["failing"]
    log = (builds / name / "latest/console.log").read_bytes()
    assert log[line["offset"] :].startswith(line["text"].encode())
    assert log[: line["offset"]].count(b"\n") == line["line"] - 1


def test_each_turn_is_told_once_whoever_is_down_or_killed(
    make_repo, configure, run_poller, builds, name, base_image, receiver, tmp_path
):
    """Ten builds; the receiver is down for each second one, the poller killed twice."""
    files = application(base_image) | {
        "package.json": '{"scripts": {"test": "exit 0"}}'
    }
    tree = make_repo(files)
    targets = tmp_path / "targets.json"
    team = {"url": receiver.url, "secret": SECRET}
    targets.write_text(json.dumps({"team": team}))
    settings = {"notify": {"to": ["team"]}, "hints": False}
    config = configure(repositories={name: settings})
    poller = run_poller(config, NOTIFY_FILE=str(targets))
    poller.wait_for(lambda: (builds / name / "state.json").exists())
    green, red, otherwise = "exit 0", "exit 1", "exit 3"
    story = [green, red, red, otherwise, red, green, green, red, "[skip ci]", green]
    for number, test in enumerate(story, 1):
        receiver.status = 503 if number % 2 == 0 else 200
        script = json.dumps({"scripts": {"test": test}})
        tag = f"v1.0.{number}"
        message = "[skip ci]" if test == "[skip ci]" else f"fix: {number}"
        tree.commit({"package.json": script, "number": tag}, message)
        tree.push()
        poller.wait_for(lambda n=number: len(results(builds, name)) == n, 120)
        if number in (4, 8):
            poller.kill()
            poller = run_poller(config, NOTIFY_FILE=str(targets))
    tree.git("tag", "v1.0.0")
    tree.push("v1.0.0")
    receiver.status = 200
    poller.wait_for(lambda: "released" in receiver.events(), 120)
    owed = builds / name / ".owed"
    poller.wait_for(lambda: not list(owed.glob("*")), 60)
    ids = dict.fromkeys(message["id"] for message in receiver.got)
    told = [next(m for m in receiver.got if m["id"] == id) for id in ids]
    assert [m["event"] for m in told] == [
        *("broken", "changed", "changed", "fixed"),
        *("broken", "fixed", "released"),
    ]
    assert told[0]["text"].startswith("unit-test.sh: npm test failed with exit code 1")
    assert told[-1]["build"]["version"] == "1.0.0"
