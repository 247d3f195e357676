import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from wrapper.config import load as config
from wrapper.config import schema

ROOT = Path(__file__).resolve().parent.parent.parent
GOOD = {"registry": "127.0.0.1:5000", "repositories": {"o/n": {}}}


def settings(**keys):
    return json.dumps(GOOD | {"repositories": {"o/n": keys}})


def top(**keys):
    return json.dumps(GOOD | keys)


def run(source, name="o/n", **env):
    """python -m wrapper.config in a process of its own."""
    env = {**os.environ, "CONFIG": str(source), "PYTHONPATH": str(ROOT), **env}
    return subprocess.run(
        [sys.executable, "-P", "-m", "wrapper.config", name],
        capture_output=True,
        text=True,
        env=env,
        timeout=60,
    )


# What the file holds, the path the message must name, a part of the reason.
MALFORMED = {
    "empty": ("", "", "is empty"),
    "white space": (" \n", "", "is empty"),
    "not JSON": ("registry: x", "line 1 column 1", "expecting value"),
    "cut off": ('{"registry": "a:1", ', "line 1 column 2", "property name"),
    "trailing comma": ('{\n  "registry": "a:1",\n}', "line", "property name"),
    "comment": ('{\n  // why\n  "registry": "a:1"}', "line 2 column 3", "comments"),
    "BOM": ("\ufeff" + top(), "", "byte order mark"),
    "not UTF-8": (b'{"registry": "\xff"}', "", "not UTF-8"),
    "UTF-16": (top().encode("utf-16"), "", "not UTF-8"),
    "huge": (top() + " " * (1 << 20), "", "larger than 1 MiB"),
    "deep": ("[" * 100_000 + "]" * 100_000, "", "nested too deeply"),
    "deep enough": ('{"a":' * 900 + "1" + "}" * 900, "a", "unknown"),
    "long number": (top(concurrency=0)[:-2] + "1" * 5000 + "}", "", "limit"),
    "a list": ("[]", "the document", "must be an object"),
    "null": ("null", "the document", "must be an object"),
    "NaN": (top(concurrency=float("nan")), "concurrency", "NaN"),
    "Infinity": (top(poll={"sweep": float("inf")}), "poll.sweep", "Infinity"),
    "half a pair": (top(poll={"sweep": "\ud800"}), "poll.sweep", "half a surrogate"),
    "1e999": (top(poll={"sweep": 0})[:-3] + "1e999}}", "poll.sweep", "no JSON"),
    "duplicate key": (
        top()[:-1] + ', "registry": "b:1"}',
        "registry",
        "given twice",
    ),
    "duplicate inside": (
        '{"registry": "a:1", "repositories": {"o/n": {"keep": 1, "keep": 2}}}',
        'repositories."o/n".keep',
        "given twice",
    ),
    "no registry": ('{"repositories": {}}', "registry", "missing"),
    "no repositories": ('{"registry": "a:1"}', "repositories", "missing"),
    "unknown at the top": (top(registy="x"), "registy", 'did you mean "registry"?'),
    "unknown setting": (
        settings(branchs=["main"]),
        'repositories."o/n".branchs',
        'unknown, did you mean "branches"?',
    ),
    "unknown default": (top(defaults={"timeout": 3}), "defaults.timeout", "timeouts"),
    "unknown step": (
        settings(timeouts={"npm_install": 1}),
        'repositories."o/n".timeouts.npm_install',
        '"npm-install"',
    ),
    "unknown far off": (settings(zzz=1), 'repositories."o/n".zzz', "unknown\n"),
    "repositories a list": (top(repositories=["o/n"]), "repositories", "an object"),
    "number as text": (settings(keep="20"), 'repositories."o/n".keep', "whole number"),
    "number as truth": (top(concurrency=True), "concurrency", "whole number"),
    "half a build": (top(concurrency=1.5), "concurrency", "whole number"),
    "no builds at all": (top(concurrency=0), "concurrency", "at least 1"),
    "interval": (top(poll={"interval": 0}), "poll.interval", "more than 0"),
    "disk": (top(disk_free_min="2 GB"), "disk_free_min", '"2GiB"'),
    "negative disk": (top(disk_free_min=-1), "disk_free_min", "at least 0"),
    "branches as text": (
        settings(branches="main"),
        'repositories."o/n".branches',
        "a list",
    ),
    "branch as number": (settings(tags=["v*", 7]), '"o/n".tags[1]', "a string"),
    "full ref": (settings(branches=["refs/heads/main"]), "branches[0]", "refs/heads"),
    "command as text": (
        settings(test={"command": "npm test"}),
        '"o/n".test.command',
        'as in ["npm", "test"]',
    ),
    "empty command": (settings(test={"command": []}), "test.command", "not be empty"),
    "option as program": (
        settings(install={"command": ["-x"]}),
        "install.command[0]",
        "name of a program",
    ),
    "NUL": (settings(test={"command": ["a\0"]}), "test.command[0]", "program"),
    "negative keep": (settings(keep=-1), '"o/n".keep', "at least 0"),
    "no time": (settings(timeouts={"build": 0}), "timeouts.build", "more than 0"),
    "retries": (settings(retries={"clone": -1}), "retries.clone", "at least 0"),
    "memory": (settings(test={"memory": "2 GB"}), "test.memory", '"2g"'),
    "superseded": (settings(superseded="skp"), "superseded", 'did you mean "skip"?'),
    "version": (settings(version={"from": "tag"}), "version.from", '"package.json"'),
    "prerelease": (settings(version={"prerelease": "rc.1"}), "prerelease", "letters"),
    "leading zero": (settings(version={"prerelease": "01"}), "prerelease", "leading"),
    "placeholder": (settings(publish=["{verison}"]), "publish[0]", "{version}"),
    "publish nothing": (settings(publish=[]), "publish", "not be empty"),
    "publish twice": (settings(publish=["a", "a"]), "publish", "twice"),
    "context outside": (settings(context="../x"), "context", "inside the checkout"),
    "context inside out": (settings(context="a/.."), "context", "inside the checkout"),
    "dockerfile": (settings(dockerfile="/etc/passwd"), "dockerfile", "relative"),
    "dockerfile option": (settings(dockerfile="-f"), "dockerfile", 'leading "-"'),
    "final newline": (settings(dockerfile="x\n"), "dockerfile", "path inside"),
    "image": (settings(image="Team/App"), '"o/n".image', "lower-case"),
    "image with a tag": (settings(image="team/app:1"), '"o/n".image', "a name in"),
    "build_args": (settings(build_args={"A-B": "1"}), "build_args.A-B", "an ARG"),
    "build_args value": (settings(build_args={"A": 1}), "build_args.A", "a string"),
    "url option": (settings(url="--upload-pack=x"), '"o/n".url', "must be"),
    "url transport": (settings(url="ext::sh -c x"), '"o/n".url', "must be"),
    "url relative": (settings(url="../x"), '"o/n".url', "absolute path"),
    "registry scheme": (top(registry="http://a:1"), "registry", "without a scheme"),
    "registry path": (top(registry="ghcr.io/me"), "registry", "without a scheme"),
    "registry of one word": (top(registry="registry"), "registry", "needs its port"),
    "name with ..": (top(repositories={"../n": {}}), 'repositories."../n"', "OWNER"),
    "name of ..": (top(repositories={"o/..": {}}), 'repositories."o/.."', "OWNER"),
    "name with -": (top(repositories={"o/-n": {}}), 'repositories."o/-n"', "OWNER"),
    "owner with -": (top(repositories={"-o/n": {}}), 'repositories."-o/n"', "OWNER"),
    "name alone": (top(repositories={"n": {}}), "repositories.n", "OWNER/NAME"),
    "three parts": (top(repositories={"a/b/c": {}}), '"a/b/c"', "OWNER/NAME"),
    "name.git": (top(repositories={"o/n.git": {}}), '"o/n.git"', ".git"),
    "control": (top(repositories={"o/n\n": {}}), 'repositories."o/n\\n"', "OWNER"),
    "surrogate": ('{"registry": "\\ud800"}', "registry", "without a scheme"),
    "no image": (top(repositories={"o/.github": {}}), '"o/.github".image', "set it"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_an_error_that_names_the_path(tmp_path, case):
    content, path, reason = MALFORMED[case]
    file = tmp_path / "config.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = run(file)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines(keepends=True)
    assert all(line.startswith(f"{file}: ") for line in lines), done.stderr
    assert all(len(line) < 500 for line in lines)
    assert any(path in line and reason in line for line in lines), done.stderr


def test_a_path_that_is_no_readable_file_is_one_line(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "secret").write_text(top())
    (tmp_path / "secret").chmod(0)
    names = ["missing", "", "fifo", "loop"]
    if os.geteuid():
        names.append("secret")
    for name in names:
        done = run(tmp_path / name)
        assert done.returncode == 1
        assert re.fullmatch(r"(.*): cannot be read: [^\n]+\n", done.stderr), name
        assert done.stderr.startswith(str(tmp_path / name))


def test_all_mistakes_are_told_at_once(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(
        '{"registry": "http://x", "concurency": 1, "repositories": '
        '{"o/n": {"keep": -1, "keep": -1, "test": {"pids": "x", "target": 3}}}}'
    )
    with pytest.raises(config.ConfigError) as error:
        config.load(str(file))
    paths = [problem.split(": ")[0] for problem in error.value.problems]
    assert sorted(paths) == [
        "concurency",
        "registry",
        'repositories."o/n".keep',
        'repositories."o/n".keep',
        'repositories."o/n".test.pids',
        'repositories."o/n".test.target',
    ]


@pytest.mark.parametrize(
    "url",
    [
        "https://user:s3cret@host/x",
        "https://s3cret@host/x",
        "ssh://git:s3cret@host/x",
        "http://x:s3cret@h",
    ],
)
def test_a_url_with_credentials_is_refused_and_not_repeated(tmp_path, url):
    file = tmp_path / "config.json"
    for text in settings(url=url), top(registry=url), settings(image=url):
        file.write_text(text)
        done = run(file)
        assert done.returncode == 1
        assert "s3cret" not in done.stderr
    done = run("https://user:s3cret@127.0.0.1:1/config.json", BUILDS=str(tmp_path))
    assert done.returncode == 1
    assert "cannot be fetched" in done.stderr
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/o/n.git",
        "http://127.0.0.1:8000/o/n",
        "ssh://git@github.com/o/n.git",
        "git@github.com:o/n.git",
        "file:///srv/git/n.git",
        "/srv/git/a folder/n.git",
    ],
)
def test_urls_git_knows_are_taken(tmp_path, url):
    file = tmp_path / "config.json"
    file.write_text(settings(url=url))
    assert config.load(str(file)).repositories["o/n"].url == url


@pytest.mark.parametrize(
    "registry", ["localhost", "localhost:5000", "ghcr.io", "[::1]:5000", "reg:80"]
)
def test_registries_docker_knows_are_taken(tmp_path, registry):
    file = tmp_path / "config.json"
    file.write_text(top(registry=registry))
    assert config.load(str(file)).registry == registry


def test_a_repository_comes_over_defaults_over_the_schema(tmp_path, monkeypatch):
    monkeypatch.delenv("BUILDS", raising=False)
    monkeypatch.delenv("GITHUB_SERVER_URL", raising=False)
    file = tmp_path / "config.json"
    shared = {
        "keep": 5,
        "branches": ["dev"],
        "test": {"pids": 7, "network": "bridge"},
        "timeouts": {"clone": 1},
        "build_args": {"A": "1", "B": "1"},
    }
    own = {
        "branches": ["main"],
        "test": {"network": "none", "memory": "1g"},
        "timeouts": {"build": 2.5},
        "build_args": {"B": "2"},
    }
    repositories = {"O/N": own, "o/other": {"repository": "O/N"}}
    file.write_text(
        top(defaults=shared, repositories=repositories, disk_free_min="1MiB")
    )
    loaded = config.load(str(file))
    typed = loaded.repositories["O/N"]
    found, other = typed.document, loaded.repositories["o/other"].document
    assert (typed.repository, typed.url, typed.image) == ("O/N", found["url"], "o/n")
    assert (typed.branches, typed.tags) == (["main"], ["v*", "[0-9]*"])
    assert typed.superseded == "skip" and typed.timeouts == found["timeouts"]
    assert found["keep"] == 5
    assert found["branches"] == ["main"]
    assert found["tags"] == ["v*", "[0-9]*"]
    tests: dict[str, object] = {
        "command": ["npm", "test"],
        "target": None,
        "network": "none",
        "memory": "1g",
        "pids": 7,
        "env": {},
        "required": False,
    }
    assert found["test"].items() >= tests.items()
    assert found["timeouts"]["clone"] == 1
    assert found["timeouts"]["build"] == 2.5
    assert found["timeouts"]["unit-test"] == 900
    assert found["build_args"] == {"A": "1", "B": "2"}
    assert found["registry"] == "127.0.0.1:5000"
    assert found["disk_free_min"] == loaded.disk_free_min == 1 << 20
    assert (found["repository"], found["image"]) == ("O/N", "o/n")
    assert found["url"] == other["url"] == "https://github.com/O/N.git"
    assert (other["branches"], other["image"]) == (["dev"], "o/other")
    assert other["timeouts"]["build"] == 1800
    assert loaded.builds == tmp_path / "builds"
    rules = schema.schema()["$defs"]["settings"]["properties"]
    assert found.keys() == rules.keys() | {
        "engine",
        "registry",
        "disk_free_min",
        "build_cache_max",
    }


def test_the_environment_names_server_and_builds_folder(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(top(builds="elsewhere"))
    found = json.loads(run(file).stdout)
    assert found["builds"] == f"{tmp_path}/elsewhere"
    server = {"GITHUB_SERVER_URL": "https://git.example.org/"}
    found = json.loads(run(file, BUILDS="/srv/builds", **server).stdout)
    assert found["builds"] == "/srv/builds"
    assert found["settings"]["url"] == "https://git.example.org/o/n.git"
    done = run(file, GITHUB_SERVER_URL="https://me:s3cret@git.example.org")
    assert done.returncode == 1
    assert "s3cret" not in done.stderr


def test_what_is_not_configured_is_exit_2(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(top())
    done = run(file, "o/m")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f'{file}: o/m is not configured, did you mean "o/n"?'
        ' (add it under "repositories")\n'
    )
    assert run(file, "--help").returncode == 2


def test_check_says_what_is_wrong_or_that_nothing_is(tmp_path):
    file = tmp_path / "config.json"

    def check():
        command = [sys.executable, "-m", "wrapper", "check", "--config", str(file)]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

    file.write_text(top())
    done = check()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{file}: ok (repositories: 1, builds in /")
    file.write_text(settings(kep=1))
    done = check()
    assert (done.returncode, done.stdout) == (1, "")
    words = f'{file}: repositories."o/n".kep: unknown, did you mean "keep"?\n'
    assert done.stderr == words


def test_the_shipped_file_is_a_working_example():
    name, found = next(
        iter(config.load(str(ROOT / "config.json")).repositories.items())
    )
    assert found.url == f"https://github.com/{name}.git"
    document = json.loads((ROOT / "config.json").read_text())
    assert (ROOT / document["$schema"]).samefile(ROOT / "wrapper/config.schema.json")


def test_the_schema_is_one_and_explains_every_key():
    rules = schema.schema()
    Draft202012Validator.check_schema(rules)

    def walk(part, at):
        if "pattern" in part:
            assert part["patternErrorMessage"].startswith("must "), at
        for key, inner in part.get("properties", {}).items():
            if "timeouts" not in at and "retries" not in at:
                assert inner["title"], (at, key)
                assert "description" in inner or "properties" in inner, (at, key)
            walk(inner, [*at, key])
        if "properties" in part:
            assert part["additionalProperties"] is False, at

    for name, part in [("", rules), *rules["$defs"].items()]:
        walk(part, [name])


def test_every_default_is_a_valid_value():
    rules = schema.schema()
    document = schema.defaults(rules) | GOOD
    document["defaults"] = schema.defaults(rules["$defs"]["settings"])
    assert schema.problems(document) == []


def test_the_table_in_the_readme_has_the_same_defaults():
    readme = (ROOT / "README.md").read_text()
    rows: dict[str, str] = {}
    for line in re.findall(r"^\| `[a-z_]+`.*\|$", readme, re.M):
        keys, values = (re.findall("`([^`]+)`", cell) for cell in line.split("|")[1:3])
        rows |= dict(zip(keys, values, strict=False))
    rules = schema.schema()
    told = schema.defaults(rules["$defs"]["settings"]) | schema.defaults(rules)
    assert {key: rows.get(key) for key in told} == {
        key: json.dumps(value) for key, value in told.items()
    }
    computed = {
        "repository": "OWNER/NAME",
        "url": "$GITHUB_SERVER_URL/OWNER/NAME.git",
        "image": "owner/name",
    }
    assert {key: rows.get(key) for key in computed} == computed


def test_the_scripts_have_no_defaults_of_their_own():
    for script in (ROOT / "scripts").glob("*.sh"):
        text = script.read_text()
        for line in text.splitlines():
            # jq's way; the one that stays tells an object from its other kinds
            alternative = re.search(r"(\w|\]) // (.*)", line)
            if alternative and "://" not in line:
                assert re.match(r'empty|""|"=', alternative[2]), f"{script}: {line}"
        read = set(re.findall(r"read_build (.*)", text))
        for name in re.findall(r"\w+", " ".join(read)):
            assert not re.search(rf"\$\{{{name}:?[-=][^}}]", text), f"{script}: {name}"


def test_it_starts_quickly(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(top())
    took = []
    for _ in range(5):
        start = time.monotonic()
        run(file)
        took.append(time.monotonic() - start)
    assert min(took) < 0.5  # 0.16 s where nothing else runs


@pytest.mark.parametrize("odd", ["\x1b[31m", "\x9b31m", "\x7f", "\u202e", "\r", "\x07"])
def test_a_stranger_s_control_sequences_do_not_reach_the_terminal(tmp_path, odd):
    file = tmp_path / "config.json"
    for text in (
        top(**{f"k{odd}": 1}),
        settings(image=f"i{odd}"),
        settings(branches=[f"b{odd} "]),
        settings(build_args={f"a{odd}": "x"}),
        json.dumps(GOOD | {"repositories": {f"o/n{odd}": {}}}),
    ):
        file.write_text(text)
        done = run(file)
        assert done.returncode == 1 and file.name in done.stderr
        assert all(c.isprintable() for c in done.stderr.replace("\n", "")), text


@pytest.mark.parametrize(
    "registry, entries",
    [
        ("r:1", {"a/one": {"image": "x/y"}, "a/two": {"image": "x/y"}}),
        ("r:1", {"a/one": {"image": "a/two"}, "a/two": {}}),
        ("r:1", {"A/one": {}, "a/ONE": {}}),
        ("docker.io", {"a/one": {"image": "app"}, "a/two": {"image": "library/app"}}),
        ("Docker.IO", {"a/one": {"image": "library/app"}, "a/two": {"image": "app"}}),
    ],
)
def test_two_entries_do_not_publish_as_one_image(tmp_path, registry, entries):
    file = tmp_path / "config.json"
    file.write_text(top(registry=registry, repositories=entries))
    with pytest.raises(config.ConfigError) as found:
        config.load(str(file))
    first, second = entries
    path = f'repositories."{second}".image: '
    [problem] = found.value.problems
    assert problem.startswith(path) and f'is the image of "{first}" too' in problem


def test_images_that_are_not_one_are_taken(tmp_path):
    entries = {"a/one": {"image": "app"}, "a/two": {"image": "library/app"}, "a/x": {}}
    file = tmp_path / "config.json"
    file.write_text(top(registry="r:1", repositories=entries))
    assert len(config.load(str(file)).repositories) == 3


def test_an_image_of_the_defaults_is_every_entry_s(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(top(defaults={"image": "x"}, repositories={"a/b": {}, "a/c": {}}))
    with pytest.raises(config.ConfigError, match='"x" is the image of "a/b" too'):
        config.load(str(file))


def test_an_engine_comes_with_its_defaults_for_all_repositories(tmp_path):
    engine = {"kind": "swarm", "image": "r:1/x:2", "shared": "/srv/x", "cpus": 2}
    repositories = {"o/n": {"constraint": "big=yes"}, "o/m": {}}
    document = GOOD | {"engine": engine, "repositories": repositories}
    loaded = config.resolve(json.dumps(document).encode(), str(tmp_path / "c.json"))
    one, other = (r.document for r in loaded.repositories.values())
    assert one["engine"] == other["engine"] == loaded.engine
    assert loaded.engine is not None
    assert loaded.engine["cpus"] == 2
    assert loaded.engine["memory"] == "3g"
    assert loaded.engine["patience"] == 600
    assert (one["constraint"], other["constraint"]) == ("big=yes", None)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("kind", "nomad", "engine.kind"),
        ("shared", "srv", "absolute path"),
        ("shared", "/srv,ro", "without comma"),
        ("constraint", "big", "KEY=VALUE"),
        ("image", "-x", "engine.image"),
    ],
)
def test_what_is_wrong_with_an_engine_is_told_by_path(key, value, words):
    engine = {"kind": "swarm", "image": "r:1/x:2", "shared": "/srv/x", key: value}
    [problem] = schema.problems(GOOD | {"engine": engine})
    assert problem.startswith(f"engine.{key}")
    assert words in problem
