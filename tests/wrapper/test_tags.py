"""Image tags and labels."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from semver import Version

from wrapper.version.tags import image_tags, labels, why_none

COMMIT = "1a2b3c4" + "0" * 33
PUBLISH = ["{version}", "{major}.{minor}", "{major}", "latest", "{branch}", "sha-{sha}"]


def tags(version, ref="refs/tags/x", others="", publish=PUBLISH):
    releases = [Version.parse(other) for other in [version, *others.split()]]
    return image_tags(Version.parse(version), ref, COMMIT, publish, releases)


@pytest.mark.parametrize(
    ("version", "others", "expected"),
    [
        ("1.2.3", "", "1.2.3 sha-1a2b3c4 1.2 1 latest"),
        ("1.2.3", "1.2.2 1.1.9 0.9.0", "1.2.3 sha-1a2b3c4 1.2 1 latest"),
        # Never back: an older line keeps to its own aliases.
        ("1.2.3", "1.2.4", "1.2.3 sha-1a2b3c4"),
        ("1.2.3", "1.3.0", "1.2.3 sha-1a2b3c4 1.2"),
        ("1.2.3", "2.0.0", "1.2.3 sha-1a2b3c4 1.2 1"),
        ("1.9.0", "1.10.0", "1.9.0 sha-1a2b3c4 1.9"),
        # What does not hold an alias does not keep it from others.
        ("1.2.3", "1.3.0-rc.1 1.2.4+exp.1", "1.2.3 sha-1a2b3c4 1.2 1 latest"),
        # Never 0.
        ("0.3.1", "0.2.9", "0.3.1 sha-1a2b3c4 0.3 latest"),
        ("0.0.1", "", "0.0.1 sha-1a2b3c4 0.0 latest"),
        # A pre-release and build metadata move nothing.
        ("3.0.0-rc.1", "2.0.0", "3.0.0-rc.1 sha-1a2b3c4"),
        ("2.0.1+exp.1", "2.0.0", "2.0.1-exp.1 sha-1a2b3c4"),
        ("2.0.1-rc.1+exp.1", "", "2.0.1-rc.1-exp.1 sha-1a2b3c4"),
    ],
)
def test_tags_of_a_tagged_version(version, others, expected):
    assert " ".join(tags(version, others=others)) == expected


def test_tags_of_a_branch():
    version = "1.3.0-main.4.g1a2b3c4"
    assert tags(version, "refs/heads/main") == [version, "sha-1a2b3c4", "main"]
    # A branch whose commit is released gets the release's tags as well.
    released = ["1.3.0", "sha-1a2b3c4", "main", "1.3", "1", "latest"]
    assert tags("1.3.0", "refs/heads/main") == released
    assert tags(version, COMMIT) == [version, "sha-1a2b3c4"]


@pytest.mark.parametrize(
    ("branch", "tag"),
    [
        ("main", "main"),
        ("a-b", "a-b"),
        ("Main_1.x", "Main_1.x"),
        ("v1", "v1"),
        ("a/b", r"a-b-[0-9a-f]{8}"),
        ("feature/Straße_1", r"feature-Stra-e_1-[0-9a-f]{8}"),
        ("007", r"007-[0-9a-f]{8}"),
        ("-x", r"x-[0-9a-f]{8}"),
        ("日本", r"[0-9a-f]{8}"),
        # What a release, a commit or another branch may be called.
        ("latest", r"latest-[0-9a-f]{8}"),
        ("1", r"1-[0-9a-f]{8}"),
        ("1.2", r"1\.2-[0-9a-f]{8}"),
        ("1.2.3", r"1\.2\.3-[0-9a-f]{8}"),
        ("1.2.3-rc.1", r"1\.2\.3-rc\.1-[0-9a-f]{8}"),
        ("sha-1a2b3c4", r"sha-1a2b3c4-[0-9a-f]{8}"),
        ("a-b-0123abcd", r"a-b-0123abcd-[0-9a-f]{8}"),
        ("x" * 128, "x" * 128),
        ("x" * 129, r"x{119}-[0-9a-f]{8}"),
    ],
)
def test_the_tag_of_a_branch(branch, tag):
    assert re.fullmatch(tag, tags("1.0.0-x", f"refs/heads/{branch}")[-1])


def test_templates_can_be_combined_and_published_once():
    publish = "latest web-{version} {version} web-{major} {major}.{minor}.{patch} edge"
    expected = "web-1.2.3 1.2.3 web-1 edge latest"
    assert tags("1.2.3", publish=publish.split()) == expected.split()
    assert tags("1.2.3-a", publish=["sha-{sha}", "{version}"])[0] == "1.2.3-a"
    assert tags("0.2.3", others="0.3.0", publish=publish.split()) == [
        "web-0.2.3",
        "0.2.3",
    ]
    mixed = ["{branch}-{version}", "{branch}-{major}", "{sha}-{branch}", "{version}"]
    assert tags("1.2.3", "refs/heads/a", publish=mixed) == [
        "a-1.2.3",
        "1.2.3",
        "1a2b3c4-a",
        "a-1",
    ]
    assert tags("1.2.3", publish=mixed) == ["1.2.3"]


def test_a_branch_stays_clear_of_whatever_is_published():
    publish = ["{branch}", "web-{major}", "stable"]
    for branch, stays in ("web-1", False), ("web-a", True), ("stable", False):
        (tag,) = tags("1.2.3-a", f"refs/heads/{branch}", publish=publish)
        assert (tag == branch) == stays


RELEASES_ALONE = ["{major}.{minor}", "latest"]


@pytest.mark.parametrize(
    ("version", "ref", "publish", "why"),
    [
        ("1.2.3-a", "refs/heads/a", ["latest"], '"latest" for releases'),
        ("1.2.3-a", "refs/tags/x", ["stable"], '"stable" for releases'),
        (
            "1.2.3-a",
            "refs/heads/a",
            RELEASES_ALONE,
            '"{major}.{minor}", "latest" for releases',
        ),
        (
            "1.2.3-a",
            COMMIT,
            ["{branch}", "{sha}-{branch}", "{major}"],
            '"{branch}", "{sha}-{branch}" for branches, "{major}" for releases',
        ),
        ("1.2.3", "refs/tags/x", ["{branch}"], '"{branch}" for branches'),
        ("0.2.3", "refs/tags/x", ["{major}"], '"{major}" for releases from 1.0.0'),
        (
            "1.2.3+b",
            "refs/tags/x",
            ["latest"],
            '"latest" for releases without build metadata',
        ),
        (
            "1.2.3",
            "refs/tags/x",
            RELEASES_ALONE,
            '"{major}.{minor}" for releases from 1.2.9, '
            '"latest" for releases from 9.0.0',
        ),
    ],
)
def test_why_nothing_is_published(version, ref, publish, why):
    others = "1.2.9 1.2.8 9.0.0 9.0.1-rc.1"
    assert tags(version, ref, others, publish) == []
    releases = map(Version.parse, others.split())
    words = why_none(Version.parse(version), ref, publish, list(releases))
    only = f"publish has only {why}"
    assert words == f'nothing will be published: {only} (add "{{version}}")'


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{tag}", r'"\{tag\}" has an unknown \{tag\}'),
        ("{}", "unknown"),
        ("a/{version}", "makes .* no image tag"),
        ("{version", "no image tag"),
        ("-{version}", "no image tag"),
    ],
)
def test_a_template_that_makes_no_tag(template, complaint):
    with pytest.raises(ValueError, match=complaint):
        tags("1.2.3", publish=[template])


def test_a_long_version_is_cut_and_kept_apart():
    one, other = (
        tags(f"1.2.3-{'x' * 150}{i}", publish=["{version}"])[0] for i in (1, 2)
    )
    assert len(one) == len(other) == 128
    assert one != other


def test_labels():
    package = {
        "name": "app",
        "description": "  Two\n\x00li\x1bnes\u2028of\x85it  ",
        "license": "MIT",
    }
    lines = labels(
        Version.parse("1.2.3+b"), COMMIT, "DATE", "https://u:p@host/o/n.git", package
    )
    prefix = "org.opencontainers.image."
    assert {line.removeprefix(prefix) for line in lines} == {
        "created=DATE",
        f"revision={COMMIT}",
        "version=1.2.3+b",
        "source=https://host/o/n",
        "url=https://host/o/n",
        "title=app",
        "description=Two li nes of it",
        "licenses=MIT",
    }


@pytest.mark.parametrize(
    ("license_", "expected"),
    [({"type": "ISC"}, ["ISC"]), (["MIT"], []), ("", []), (None, []), (7, [])],
)
def test_only_a_license_that_has_a_name_is_a_label(license_, expected):
    package = {"license": license_, "name": {"x": 1}}
    lines = list(labels(Version(1), COMMIT, "DATE", "/srv/n.git", package))
    assert [line.split("=")[1] for line in lines if "licenses" in line] == expected
    assert not [line for line in lines if "title" in line]
    assert "org.opencontainers.image.url=/srv/n.git" in lines


BRANCHES = st.text(st.sampled_from("ab01.-_/ßx~"), min_size=1, max_size=200) | st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=150
)
SMALL = st.integers(0, 3)
VERSIONS = st.builds(
    Version, SMALL, SMALL, SMALL, st.sampled_from([None] * 3 + ["rc.1", "x" * 150])
) | st.builds(Version, SMALL, SMALL, SMALL, st.none(), st.sampled_from(["b", "b.1"]))


@settings(deadline=None)  # a busy machine is no failure
@given(VERSIONS, BRANCHES)
def test_every_tag_fits_the_image_grammar(version, branch):
    for tag in image_tags(version, f"refs/heads/{branch}", COMMIT, PUBLISH, []):
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", tag)


@settings(deadline=None)  # a busy machine is no failure
@given(BRANCHES, BRANCHES)
def test_two_branches_never_share_a_moving_tag(one, other):
    moving = [
        {
            tag
            for tag in tags("1.0.0-x", f"refs/heads/{branch}")
            if tag not in ("1.0.0-x", "sha-1a2b3c4")
        }
        for branch in (one, other)
    ]
    assert (one == other) or not moving[0] & moving[1]


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.tuples(VERSIONS, st.booleans()), min_size=1, max_size=12), st.data())
def test_no_alias_ever_moves_down(steps, data):
    known: list[Version] = []
    points_to: dict[str, Version] = {}
    for version, again in steps:
        known.append(version)
        if again:  # an older one is built once more
            version = data.draw(st.sampled_from(known))
        fixed, _, *aliases = image_tags(version, "refs/tags/x", COMMIT, PUBLISH, known)
        assert version >= Version(1) or "0" not in aliases
        for alias in aliases:
            assert version >= points_to.get(alias, version)
            points_to[alias] = version
    assert fixed
