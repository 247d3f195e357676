"""What the poller does besides building: it tidies up, and it can be paused."""

import os

from tests.support.parts import application, results


def test_each_build_is_followed_by_a_prune_and_a_pause_holds_the_next(
    make_repo, configure, run_poller, builds, name, base_image, registry, docker
):
    tree = make_repo(application(base_image))
    poller = run_poller(configure(repositories={name: {"keep": 1}}))
    poller.wait_for(lambda: (builds / name / "state.json").exists())

    def build(number):
        tree.commit({"app.js": f"// {name} {number}\n"})
        tree.push()
        poller.wait_for(lambda: len(directories()) == min(number, 2), what="staged")

    def directories():
        return [n for n in sorted(os.listdir(builds / name)) if n.startswith("2")]

    def images():
        return docker("images", "-q", f"{registry.address}/{name}").split()

    build(1)
    poller.wait_for(lambda: results(builds, name))
    assert len(images()) == 1
    pause = builds / name / ".pause"
    pause.touch()
    build(2)
    first, second = directories()
    poller.wait_for(lambda: "staged main" in poller.output.split(first)[-1])
    assert not (builds / name / second / "lock").exists()
    pause.unlink()
    poller.wait_for(lambda: directories() == [second], what="the first is pruned")
    poller.wait_for(lambda: not list((builds / name).glob(".pruned.*")))
    [result] = results(builds, name)
    assert result["status"] == "success", poller.output
    assert len(images()) == 1
    assert registry.tags(name) >= {f"sha-{tree.head[:7]}", "main"}
    assert len(registry.tags(name)) == 5  # there nothing is removed
    poller.stop()
