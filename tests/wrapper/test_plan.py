"""plan: what a ref would become, from a real git server and without leaving a trace."""

import json

import pytest

from wrapper.commands import plan
from wrapper.config import load as config


@pytest.fixture
def tree(make_repo):
    """A repository with a commit after v1.2.0."""
    tree = make_repo({"package.json": '{"name": "app", "version": "1.2.0"}'})
    tree.git("tag", "v1.2.0")
    tree.commit({"more": ""}, "feat: more")
    tree.push("main", "v1.2.0")
    return tree


@pytest.fixture
def planned(tree, github, tmp_path, monkeypatch, capfd):
    """planned(ref, **settings) -> (exit code, stdout, stderr)"""
    monkeypatch.setenv("GITHUB_SERVER_URL", github.url)
    file = tmp_path / "config.json"

    def planned(ref=None, name=tree.name, **own):
        repositories = {tree.name: own}
        document = {"registry": "127.0.0.1:5000", "repositories": repositories}
        file.write_text(json.dumps(document))
        code = plan.run(config.load(str(file)), name, ref)
        return code, *capfd.readouterr()

    return planned


def test_it_prints_version_tags_and_labels_and_builds_nothing(planned, tree, tmp_path):
    code, out, err = planned()
    head, image = tree.head, f"127.0.0.1:5000/{tree.name}"
    version = f"1.3.0-main.1.g{head[:7]}"
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[:5] == [
        f"version  {version}",
        "because  1 commit after 1.2.0, next is 1.3.0 (minor)",
        f"tag      {image}:{version}",
        f"tag      {image}:sha-{head[:7]}",
        f"tag      {image}:main",
    ]
    assert f"label    org.opencontainers.image.version={version}" in lines
    assert "label    org.opencontainers.image.title=app" in lines
    builds = tmp_path / "builds"
    assert [path.name for path in builds.iterdir()] == [".cache"]
    assert [path.name for path in (builds / ".cache").iterdir()] == ["git"]


def test_a_tag_can_be_named(planned):
    code, out, _ = planned("v1.2.0")
    tags = [line.rpartition(":")[2] for line in out.splitlines() if line[:3] == "tag"]
    assert (code, tags[0], tags[2:]) == (0, "1.2.0", ["1.2", "1", "latest"])


def test_submodules_are_not_asked_for(planned, tree):
    url = '[submodule "x"]\npath = x\nurl = https://nowhere.invalid/x.git\n'
    tree.commit({".gitmodules": url}, "feat: a submodule")
    tree.git("update-index", "--add", "--cacheinfo", f"160000,{tree.head},x")
    tree.git("commit", "-q", "-m", "feat: at this commit")
    tree.push("main")
    code, out, err = planned()
    assert (code, err) == (0, "")
    assert out.startswith("version  1.3.0-main.3.g")


def test_where_nothing_will_be_published_it_says_why(planned, tree):
    code, out, _ = planned(publish=["{major}.{minor}", "latest"])
    version, _, tag, *labels = out.splitlines()
    assert (code, version) == (0, f"version  1.3.0-main.1.g{tree.head[:7]}")
    assert tag.startswith(
        'tag      nothing will be published: publish has only "{major}'
    )
    assert all(line.startswith("label ") for line in labels)


def test_what_gets_no_version_is_told_why(planned, tree):
    tree.git("tag", "1.2")
    tree.push("1.2")
    code, out, err = planned("1.2")
    assert (code, out) == (1, "")
    assert err.startswith('version.sh: tag "1.2" is no SemVer')
    code, out, err = planned("nowhere")
    assert (code, out) == (1, "")
    assert "has no branch or tag nowhere" in err


def test_a_repository_that_is_not_configured(planned):
    code, out, err = planned(name="o/n")
    assert (code, out) == (2, "")
    assert err.startswith("o/n is not configured")
