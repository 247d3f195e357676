"""Which build WHAT means."""

import json

import pytest

from wrapper.builds.what import Unclear, build_at, find

MAIN = "refs/heads/main"


@pytest.fixture
def make(tmp_path):
    """make(NUMBER, REF, COMMIT, repository=…) -> its name."""

    def make(number, ref=MAIN, digit="a", repository="o/n", version=None, **about):
        commit = digit * 40
        build = f"20261122T0510{number:02}.000000Z-{commit[:7]}"
        folder = tmp_path / repository / build
        folder.mkdir(parents=True)
        about = {"ref": ref, "commit": commit, "source": "event"} | about
        (folder / "build.json").write_text(json.dumps(about))
        if version:
            (folder / "version").write_text(f"{version}\n")
        state = folder.parent / "state.json"
        latest = json.loads(state.read_text())["latest"] if state.exists() else {}
        if about["source"] != "manual":
            latest[ref] = {"build": build, "seconds": []}
        state.write_text(json.dumps({"latest": latest}))
        return f"{repository}/{build}"

    return make


def test_each_form_in_its_order(tmp_path, make):
    first = make(1, digit="a", version="1.2.3")
    second = make(2, digit="b", version="1.3.0")
    tag = make(3, "refs/tags/v1.3.0", "b", version="1.3.0")
    other = make(4, "refs/heads/aaaaaaa", "c")
    hand = make(5, "refs/heads/mine", "d", source="manual")
    meant = {
        MAIN: second,
        "main": second,
        "v1.3.0": tag,
        "refs/tags/v1.3.0": tag,
        first.rpartition("/")[2]: first,
        first: first,
        f"{tmp_path}/{first}": first,  # as trigger prints it
        "1.2.3": first,
        "1.3.0": tag,
        "a" * 8: first,
        "A" * 40: first,
        "b" * 7: tag,
        "aaaaaaa": other,  # a branch comes first
        "mine": hand,
        "o/n": hand,
    }
    for what, build in meant.items():
        assert find(tmp_path, what).name == build, what
        assert find(tmp_path, "o/n", what).name == build, what
    for nothing in "a" * 6, "a" * 41, "2.0.0", "refs/heads/none", "o", "../n", "":
        with pytest.raises(Unclear, match="means no build"):
            find(tmp_path, nothing)


def test_two_that_match_are_named(tmp_path, make):
    one, two = make(1), make(2, repository="o/other")
    with pytest.raises(Unclear) as raised:
        find(tmp_path, "main")
    words = f"main means {one} and {two}: name the repository too, as: o/n main"
    assert str(raised.value) == words
    assert find(tmp_path, "o/other", "main").name == two
    with pytest.raises(Unclear, match="main means no build of o/none"):
        find(tmp_path, "o/none", "main")


def test_without_a_word_the_newest_that_ran(tmp_path, make):
    with pytest.raises(Unclear, match="no build has run"):
        find(tmp_path)
    names = [make(number) for number in (1, 2, 3)]
    (tmp_path / names[1] / "console.log").touch()
    assert find(tmp_path).name == names[1]


def test_a_name_leads_nowhere_else(tmp_path, make):
    name = make(1)
    build = build_at(tmp_path, name)
    assert build and build.name == name
    for other in "o/n", f"../{name}", f"o/../{name}", f"./{name}", "o/n/x", f"/{name}":
        assert build_at(tmp_path, other) is None
