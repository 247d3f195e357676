"""The main job: a push to the stand-in becomes tags in a real registry."""

import json
import re

from tests.support.parts import application, results

STEPS = ["clone", "npm-install", "version", "build", "unit-test", "tag-push"]


def test_a_push_becomes_a_tested_labelled_tagged_image(
    make_repo, configure, run_poller, builds, name, base_image, registry, docker
):
    tree = make_repo(application(base_image, "1.0.0"))
    poller = run_poller(configure(name))
    poller.wait_for(lambda: (builds / name / "state.json").exists())
    commit = tree.commit({"app.js": "// new\n"}, "feat: something new")
    tree.push()
    poller.wait_for(lambda: results(builds, name))
    assert poller.stop() == 143

    [result] = results(builds, name)
    assert result["status"] == "success", poller.output
    assert [step["name"] for step in result["steps"]] == STEPS
    assert all(step["seconds"] > 0 for step in result["steps"])
    version = f"1.0.1-main.1.g{commit[:7]}"
    assert result["version"] == version
    assert registry.tags(name) == {version, "main", f"sha-{commit[:7]}"}

    build = (builds / name / "latest").resolve()
    assert result["pushed"] == [
        f"{registry.address}/{name}:{tag}@{registry.digest(name, tag)}"
        for tag in (build / "tags").read_text().split()
    ]
    labels = registry.config(name, "main")["config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == commit
    assert labels["org.opencontainers.image.version"] == version
    assert labels["org.opencontainers.image.source"] == tree.url.removesuffix(".git")

    # Every tool's own words, in the order of the steps, to the last line of ours.
    console = (build / "console.log").read_text()
    digest = registry.digest(name, "main")
    words = (
        r"clone\.sh: .*npm (install|ci) .*audit.*version\.sh: .*"
        r"COPY \. \..*writing image|Successfully built.*the test ran.*"
        rf"main: digest: {digest}.*pipeline\.sh: success\n\Z"
    )
    assert re.search(words, console, re.DOTALL), console
    # The poller's own output has the same lines, each with the repository's name.
    for line in console.splitlines():
        assert f"{name}: {line}".rstrip() in poller.output, line


def test_poll_once_builds_what_is_due_and_ends(
    make_repo, configure, run_poller, builds, name, base_image, registry
):
    tree = make_repo(application(base_image))
    config = configure(name)
    first = run_poller(config, "--once")
    assert first.process.wait(60) == 0, first.output
    assert not results(builds, name)
    tree.commit({"app.js": "// new\n"})
    tree.git("tag", "v2.0.0")
    tree.push("main", "v2.0.0")
    again = run_poller(config, "--once")
    assert again.process.wait(120) == 0, again.output
    assert [r["status"] for r in results(builds, name)] == ["success"] * 2
    assert {"2.0.0", "2.0", "2", "latest", "main"} <= registry.tags(name)
    alike = {registry.digest(name, tag) for tag in ("2.0.0", "2.0", "2", "latest")}
    assert len(alike) == 1
    document = json.loads((builds / name / "latest" / "build.json").read_text())
    assert document["source"] in ("event", "sweep")
