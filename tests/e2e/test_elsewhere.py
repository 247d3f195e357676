"""A repository that is not on GitHub: git alone tells of its pushes."""

from tests.support.parts import wait_for
from wrapper.commands import health
from wrapper.config import load as config
from wrapper.pushes import state

MAIN = "refs/heads/main"


def test_its_refs_are_compared_each_interval(
    make_repo, configure, here, name, github, monkeypatch
):
    tree = make_repo()
    url = f"file://{github.repository(name).path}"
    path = configure(repositories={name: {"url": url}})
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_one")
    poller = here(path)
    poller.says("noted main")
    wait_for(lambda: (poller.folder / name / "state.json").exists())
    tree.commit()
    tree.push()
    wait_for(lambda: poller.builds(name) == [(MAIN, tree.head)])
    wait_for(lambda: poller.states(name) == ["success"])
    wait_for(lambda: health.run(config.load(str(path))) == 0)
    assert not poller.polls(name)
    poller.stop()
    assert not github.statuses  # nor is there a commit to show them at


def test_it_comes_to_github(make_repo, configure, here, name, github):
    tree = make_repo()
    url = f"file://{github.repository(name).path}"
    poller = here(configure(repositories={name: {"url": url}}))
    poller.says("noted main")
    configure(name)
    poller.says(f"{name}: url")
    poller.settled(name)  # compared with its new address, the feed known
    wait_for(lambda: state.load(poller.folder / name).url != url)
    tree.commit()
    tree.push()
    poller.has(name, (MAIN, tree.head))
