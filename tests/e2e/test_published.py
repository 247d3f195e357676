"""Tags that a person moves, in a real registry: withdraw, promote, images; forget."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Here
from tests.support.parts import application, wait_for
from tests.support.web import Api, outcome, serving
from wrapper import SCRIPTS
from wrapper.__main__ import main
from wrapper.builds.directory import Build, builds_in
from wrapper.builds.process import Pipeline
from wrapper.config.schema import steps


@pytest.fixture
def story(make_repo, configure, here, name, registry, base_image, monkeypatch, capfd):
    """story(TAG) pushes a commit with that tag and waits for its success."""
    monkeypatch.setattr(Here, "pipeline", Pipeline)
    tree = make_repo(application(base_image))
    path = configure(name)
    poller = here(path)
    poller.says(f"noted main at {tree.head[:7]}")
    poller.settled(name)

    class Story:
        config = path
        folder = poller.folder
        repository = tree

        def release(self, tag):
            tree.commit({"change": tag})
            tree.git("tag", tag)
            tree.push("main", tag)
            self.built(tag, f"refs/tags/{tag}")

        def built(self, what, ref):
            def success():
                ends = [
                    b.state() for b in builds_in(self.folder / name) if b.ref == ref
                ]
                return ends and all(end == "success" for end in ends)

            wait_for(success, 120, f"{what} is built")

        def states(self, name):
            return poller.states(name)

        def run(self, *words):
            return main([words[0], "--config", str(path), *words[1:]])

        def by_hand(self, ref):
            """Stages it, and calls each step; it is published as by-hand alone."""
            configure(repositories={name: {"publish": ["by-hand"]}})
            env = os.environ | {"CONFIG": str(path)}
            words = [f"{SCRIPTS}/stage.sh", name, ref]
            said = subprocess.run(words, env=env, capture_output=True, text=True)
            for step in steps():
                command = [f"{SCRIPTS}/{step}.sh", said.stdout.strip()]
                subprocess.run(command, env=env, check=True, capture_output=True)
            return Build(Path(said.stdout.strip()))

        def json(self):
            """What was printed last."""
            return json.loads(capfd.readouterr().out.splitlines()[-1])

        def digests(self):
            tags = registry.tags(name)
            return {tag: registry.digest(name, tag) for tag in tags}

    return Story()


def test_latest_is_put_back_and_forward(story, name, capfd):
    for tag in "v1.0.0", "v1.1.0":
        story.release(tag)
    capfd.readouterr()
    assert story.run("withdraw", name, "1.1.0") == 0
    said = capfd.readouterr().out
    assert "1.1 stays, as no other version is left for it" in said
    assert "1 is 1.0.0; latest is 1.0.0" in said
    tags = story.digests()
    assert tags["latest"] == tags["1"] == tags["1.0"] == tags["1.0.0"] != tags["1.1.0"]
    assert tags["1.1"] == tags["1.1.0"]

    assert story.run("rerun", name, "v1.1.0", "--wait") == 0  # built again
    [build] = [b for b in builds_in(story.folder / name) if b.ref == "refs/tags/v1.1.0"]
    assert "1.1.0 is withdrawn, so" in (build.path / "console.log").read_text()
    again = story.digests()
    assert again["latest"] == again["1"] == tags["1.0.0"]

    assert story.run("withdraw", name, "1.1.0", "--undo") == 0
    assert story.run("withdraw", name, "1.1.0", "--undo") == 1
    undone = story.digests()
    assert undone["latest"] == undone["1"] == undone["1.1.0"]
    assert story.run("withdraw", name, "1.1.0") == 0

    story.release("v1.1.1")
    tags = story.digests()
    assert tags["latest"] == tags["1"] == tags["1.1"] == tags["1.1.1"]

    assert story.run("withdraw", name, "v1.1.1") == 0
    assert story.run("promote", name, "1.1.1", "production") == 1  # it is withdrawn
    assert story.run("promote", name, "main", "production") == 2
    story.release("v1.0.1")  # lower, but the highest that counts
    tags = story.digests()
    assert tags["latest"] == tags["1"] == tags["1.0"] == tags["1.0.1"]
    assert story.run("withdraw", name, "1.1.1", "--undo") == 0
    assert story.digests()["latest"] == tags["1.1.1"]

    capfd.readouterr()
    assert story.run("withdraw", name, "7.0.0") == 1
    assert story.run("promote", name, "1.0.0", "production", "stable") == 0
    for owned in "latest", "1.0", "v2", "sha-1234567", "main", "2.0.0-rc.1":
        assert story.run("promote", name, "1.0.0", owned) == 2, owned
    assert story.run("promote", name, "7.0.0", "production") == 1
    tags = story.digests()
    assert tags["production"] == tags["stable"] == tags["1.0.0"]

    capfd.readouterr()
    assert story.run("images", name, "--json") == 0
    found = {one["tag"]: one for one in story.json()["tags"]}
    assert {tag: one["digest"] for tag, one in found.items()} == {
        tag: digest for tag, digest in tags.items() if tag[:4] != "sha-"
    }
    latest = found["latest"]
    assert (latest["version"], latest["before"]) == ("1.1.1", "1.0.1")
    assert latest["commit"] and latest["build"] == found["1.1.1"]["build"]
    assert found["production"]["version"] == "1.0.0"
    assert story.run("images") == 0
    assert "production" in capfd.readouterr().out

    story.by_hand("v1.1.1")  # which no journal tells of
    assert story.run("images", name, "--json") == 0
    found = {one["tag"]: one for one in story.json()["tags"]}
    assert found["by-hand"]["by"] == "by hand"
    assert found["by-hand"]["build"] == found["1.1.1"]["build"]  # it is that image


def test_an_older_commit_leaves_its_branch_and_a_branch_put_back_takes_it(story, name):
    tree = story.repository
    first = tree.commit({"change": "one"})
    tree.push()
    story.built("one", "refs/heads/main")
    old = story.digests()["main"]
    tree.commit({"change": "two"})
    tree.push()
    wait_for(lambda: len(builds_in(story.folder / name)) == 2)
    story.built("two", "refs/heads/main")
    new = story.digests()["main"]
    assert new != old
    [build, _] = builds_in(story.folder / name)
    assert build.commit == first
    assert story.run("rerun", build.id, "--from", "tag-push", "--wait") == 0
    assert story.digests()["main"] == new
    tree.push(f"{first}:main")
    wait_for(lambda: len(builds_in(story.folder / name)) == 3)
    story.built("back", "refs/heads/main")
    assert story.digests()["main"] == old


def test_a_release_whose_commit_was_red_is_made_by_asking(story, name, capfd):
    tree, package = story.repository, json.loads(application("x")["package.json"])
    bumped = json.dumps(package | {"version": "1.6.0"})
    red = tree.commit({"package.json": bumped, "test.js": "process.exit(1)\n"})
    tree.push()
    wait_for(lambda: story.states(name) == ["failure"], 120, "it is red")
    mended = tree.commit({"test.js": "console.log('the test ran')\n"})
    tree.push()
    wait_for(lambda: story.states(name)[1:] == ["success"], 120, "it is green")
    way = f"docker-build-server trigger {name} {mended[:12]} --version 1.6.0"
    capfd.readouterr()
    for command in (["why", name, mended[:7]], ["plan", name]):
        assert story.run(*command) == 0
        said = capfd.readouterr().out
        assert f"1.6.0 is not published: {red[:7]}, which brought it, ended as" in said
        assert way in said
    assert story.run("why", name, red[:7]) == 0
    assert (
        "1.6.0 is not published; push a commit that mends it" in capfd.readouterr().out
    )

    assert story.run("trigger", name, mended[:12], "--version", "2.0", "--wait") == 2
    assert story.run("trigger", name, mended[:12], "--version", "1.6.1", "--wait") == 1
    assert story.run("trigger", name, mended[:12], "--version", "1.6.0", "--wait") == 0
    tags = story.digests()
    assert tags["latest"] == tags["1.6"] == tags["1.6.0"] == tags["main"]


def test_over_http_a_version_is_released_and_promoted(story, name):
    tree, package = story.repository, json.loads(application("x")["package.json"])

    def bump(version, test):
        changed = json.dumps(package | {"version": version})
        tree.commit({"package.json": changed, "test.js": test})
        tree.push()

    bump("1.6.0", "process.exit(1)\n")
    wait_for(lambda: story.states(name) == ["failure"], 120, "it is red")
    mended = tree.commit({"test.js": "console.log('the test ran')\n"})
    tree.push()
    wait_for(lambda: story.states(name)[1:] == ["success"], 120, "it is green")
    with serving(story.config) as (url, _), Api(url) as api:

        def release(version):
            about = {"repository": name, "what": mended[:12], "version": version}
            return outcome(api, api.post("/builds", json=about))

        def ended(asked):
            assert asked.status_code == 303
            where = asked.headers["Location"].removeprefix("/api/v1")
            wait_for(lambda: api.get(where).json()["result"], 120, "it is built")
            return api.get(where).json()["summary"]

        assert release("2.0").status_code == 422
        wrong = ended(release("1.6.1"))  # package.json has another one
        assert wrong["status"] == "failure" and "1.6.1" in wrong["message"]
        assert ended(release("1.6.0"))["version"] == "1.6.0"

        bump("1.7.0", "console.log('the test ran')\n")
        wait_for(lambda: "1.7.0" in story.digests(), 120, "it is there")
        wait_for(lambda: story.states(name)[-1] == "success", 120, "it has ended")
        tags = story.digests()
        assert tags["latest"] == tags["1.7.0"] != tags["1.6.0"]

        about = {"repository": name, "version": "1.6.0", "name": "production"}
        assert outcome(api, api.post("/promote", json=about)).status_code == 200
        taken = api.post("/promote", json=about | {"name": "latest"})
        assert outcome(api, taken).status_code == 422

        assert story.digests()["production"] == tags["1.6.0"]
        assert api("GET", "/images?repository=" + name).status_code == 200


def test_what_is_left_of_a_repository_goes(story, name, configure, capfd, docker):
    story.release("v1.0.0")
    assert story.run("forget", name, "--yes") == 1
    assert "is still configured (take it out of config.json)" in capfd.readouterr().err
    configure("other/one")
    assert story.run("forget", "no/such", "--yes") == 2
    wait_for(lambda: story.run("forget", name, "--yes") == 0)  # once it is taken out
    left = [p for p in story.folder.rglob("*") if name.split("/")[1] in str(p)]
    assert left == []
    assert docker("images", "-q", "--filter", f"reference=*/{name}") == ""
