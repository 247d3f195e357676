"""Which branches and tags the settings name, and which they leave out."""

import json

import pytest

from wrapper.__main__ import main
from wrapper.config.globs import matches
from wrapper.config.load import ConfigError, load


@pytest.mark.parametrize(
    "globs, built, left",
    [
        (["*", "!dependabot/**"], ["main", "a/b"], ["dependabot/npm/x-1"]),
        (["!dependabot/**", "*"], ["main", "dependabot/npm/x-1"], []),
        (["*", "!wip/*", "wip/now"], ["wip/now", "x"], ["wip/then", "wip/now/b"]),
        (["release/*", "!release/1.*"], ["release/2/x"], ["release/1.0", "main"]),
        (["!main"], [], ["main", "other"]),
        ([], [], ["main"]),
        (["*", "!*[!0-9]"], ["12"], ["1x", "x"]),
    ],
)
def test_of_the_globs_that_match_the_last_counts(globs, built, left):
    assert [n for n in built + left if matches(n, globs)] == built


def test_the_default_branch():
    globs = ["{default}", "release/*"]
    assert matches("trunk", globs, "trunk")
    assert not matches("main", globs, "trunk")
    assert not matches("{default}", globs, "trunk")
    assert not matches("main", globs, None)
    assert not matches("trunk", ["*", "!{default}"], "trunk")


@pytest.fixture
def config(tmp_path):
    """config(**settings) -> the path of a configuration."""

    def config(**settings):
        path = tmp_path / "config.json"
        document = {"registry": "r:1", "repositories": {"o/n": settings}}
        path.write_text(json.dumps(document))
        return str(path)

    return config


@pytest.mark.parametrize("key", ["branches", "tags"])
def test_check_says_that_exclusions_alone_match_nothing(config, key, capsys):
    path = config(**{key: ["!dependabot/**", "!x"]})
    assert main(["check", "--config", path]) == 0
    said = capsys.readouterr().out
    assert f'repositories."o/n".{key}: exclusions alone match nothing' in said
    assert main(["check", "--config", config(**{key: ["*", "!x"]})]) == 0
    assert "exclusions" not in capsys.readouterr().out


@pytest.mark.parametrize("glob", ["!", "!-x", "!refs/heads/x", "!!x", "! x"])
def test_what_excludes_no_name_is_refused(config, glob):
    with pytest.raises(ConfigError, match=r"branches\[0\]: .*with ! before it"):
        load(config(branches=[glob]))


def test_a_prefix_brings_its_tags(config):
    def tags(**settings):
        return load(config(**settings)).repositories["o/n"].tags

    assert tags(tag_prefix="api@") == ["api@*"]
    assert tags(tag_prefix="api@", tags=["x*"]) == ["x*"]
    assert tags(tag_prefix="") == tags() == ["v*", "[0-9]*"]


@pytest.mark.parametrize("pattern", ["/a", "../a", "a/..", "!!a", "", "-a", "a\nb"])
def test_a_pattern_that_is_none(config, pattern):
    with pytest.raises(ConfigError, match=r'"o/n"\.paths\[0\]'):
        load(config(paths=[pattern]))
