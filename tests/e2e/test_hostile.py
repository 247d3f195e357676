"""Names and texts of strangers: nothing of them runs, leaves its place, or colours."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from tests.support.parts import GIT, ROOT, results
from wrapper.config.load import ConfigError
from wrapper.config.load import load as load_config
from wrapper.console import clean

# To a terminal: ESC, CSI in its two forms, an OSC, carriage return, backspace, bidi.
ESCAPES = "\x1b[2J \x9b31m \x1b]0;title\x07 \rover\b\b \u202etxt.exe\u2066 \u200f"
FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e]")


def commands(canary):
    """Text that touches the canary, should any shell look at it."""
    run = f"touch {canary}"
    return f"'\";$({run})`{run}`&&{run}#|{run}"


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "canary"


@pytest.fixture
def cli(configure, name, builds, github):
    """cli(ARGS…) -> the run of docker-build-server."""

    def cli(*args):
        environment = {**os.environ, **GIT, "GITHUB_SERVER_URL": github.url}
        environment |= {"CONFIG": str(builds.parent / "config.json")}
        command = [sys.executable, "-P", "-m", "wrapper", *args]
        environment |= {"PYTHONPATH": str(ROOT), "PYTHON": sys.executable}
        return subprocess.run(command, env=environment, capture_output=True)

    return cli


def assert_clean(output):
    text = output if isinstance(output, str) else output.decode()
    assert not (found := FORBIDDEN.search(text)), (found, text)


def test_a_push_of_hostile_names_is_built_and_nothing_of_them_runs(
    make_repo, configure, run_poller, builds, name, base_image, canary, tmp_path, cli
):
    evil = commands(canary)
    package = {
        "name": "app",
        "version": "1.0.0",
        "description": f"{evil}\n{ESCAPES}",
        "license": f"MIT {evil}{ESCAPES}",
        "scripts": {"test": "node test.js"},
    }
    shouts = json.dumps(f"{ESCAPES} shouted")
    folder, file = "a b;$(touch canary)\"'\u202e", "D'$(touch canary)`touch canary`\"#"
    files = {
        ".dockerignore": ".git\n",
        f"{folder}/package.json": json.dumps(package),
        f"{folder}/test.js": f"console.log({shouts})",
        f"{folder}/{file}": f"FROM {base_image}\nWORKDIR /app\nCOPY . .\n",
    }
    tree = make_repo(files)
    branch = f"--x/'\"$(touch${{IFS}}{canary})`touch${{IFS}}{canary}`;\u202e\x9b31m"
    tag = "v2.0.0"
    own = {"context": folder, "dockerfile": file, "branches": ["*"]}
    poller = run_poller(configure(repositories={name: own}))
    poller.wait_for(lambda: (builds / name / "state.json").exists())
    message = f"fix: {evil}\n\n{ESCAPES}\nmain at 1234567: forged\n{'long ' * 800}"
    author = f"{evil} {ESCAPES} <a@b>".replace("\n", " ")
    tree.commit({"more": name}, message)
    tree.git("commit", "-q", "--amend", "--no-edit", f"--author={author}")
    tree.git("tag", "-a", "-m", message, tag)
    tree.push(f"HEAD:refs/heads/{branch}")
    poller.wait_for(lambda: results(builds, name), 120)
    tree.push(tag)
    poller.wait_for(lambda: len(results(builds, name)) == 2, 120)
    poller.stop()
    assert [r["status"] for r in results(builds, name)] == ["success"] * 2

    assert not [*builds.rglob("canary"), *ROOT.glob("canary"), *ROOT.glob("*/canary")]
    assert sorted(p.name for p in builds.iterdir()) == sorted(
        [
            ".cache",
            ".health.json",
            ".lock",
            ".places",
            ".requests",
            ".wake",
            "journal.jsonl",
            "test",
        ]
    )
    assert os.listdir(builds / "test") == [name.split("/")[1]]
    [first, _] = sorted(builds.glob(f"{name}/*Z-*"))
    document = json.loads((first / "build.json").read_text())
    assert document["ref"] == f"refs/heads/{branch}"
    console = (first / "console.log").read_bytes().decode()
    assert f"{ESCAPES} shouted" in console  # every byte

    output = (tmp_path / "poller.log").read_bytes().decode()
    assert "shouted" in output
    assert_clean(output)
    for line in output.splitlines():
        assert re.match(rf"([\d-]+T[\d:]+Z )?({name}|poller|prune): ", line), line
    for args in (
        ("status",),
        ("health",),
        ("why", tree.head),
        ("plan", name, f"refs/heads/{branch}"),
        ("plan", name, tag),
    ):
        done = cli(*args)
        assert done.stdout or done.stderr
        assert_clean(done.stdout + done.stderr)
    assert done.returncode == 0
    words = {"version", "because", "tag", "label"}
    assert {line.split()[0] for line in done.stdout.decode().splitlines()} == words
    assert not canary.exists()


LONG = "x" * 4096
PIECES = """
$(touch {c})|`touch {c}`|'; touch {c}; '|"; touch {c}; "|$(touch${IFS}{c})|&&touch {c}
-x|--help|-h|../|/etc|..|*|{}|%s|\\|=|&&|é|🐳|.lock|@{|HEAD|~|^|:|0|refs/heads/
"""
CONTROLS = "\n", "\r", "\t", " ", "\x08", "\x7f", "\x1b[2J", "\x9b31m", "\u202e"
HOSTILE = st.sampled_from([*re.split(r"[|\n]", PIECES), *CONTROLS, LONG])
TEXT = st.lists(HOSTILE | st.text(max_size=5), max_size=4).map("".join)
FUZZ = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def word(text, canary):
    """As an argument: bytes, UTF-8 or not, without NUL."""
    text = text.replace("{c}", str(canary)).replace("\0", "")
    return text.encode(errors="surrogateescape")


@FUZZ
@given(
    st.just("o/n") | TEXT,
    TEXT | TEXT.map("refs/heads/x".__add__),
    st.sampled_from(["1" * 40, "f" * 64, "", "refs/heads/main"]) | TEXT,
)
@example("o/n", "a\n\x1b[2Jb", "")
@example("o/n", "refs/heads/x$(touch${IFS}{c})\x9b\u202e", "1" * 40)
@example("o/../..", "refs/heads/main", "1" * 40)
def test_stage_refuses_or_keeps_to_its_place(tmp_path, canary, repository, ref, commit):
    work = tmp_path / "fuzz"
    shutil.rmtree(work, ignore_errors=True)
    builds = work / "a" / "builds"
    builds.mkdir(parents=True)
    resolved = {"builds": str(builds), "settings": {"url": "file:///nowhere"}}
    words = [word(text, canary) for text in (repository, ref, commit)]
    environment = {**os.environ, **GIT, "SETTINGS": json.dumps(resolved)}
    done = subprocess.run(
        [ROOT / "scripts/stage.sh", *words], env=environment, capture_output=True
    )
    assert not canary.exists()
    assert [p.name for p in work.rglob("*") if p.parent in (work, work / "a")] == [
        "a",
        "builds",
    ]
    if done.returncode == 0:
        path = Path(os.fsdecode(done.stdout.removesuffix(b"\n")))
        if words[0] in (b"-h",):
            return
        assert path.parent == builds / os.fsdecode(words[0])
        document = json.loads((path / "build.json").read_bytes())
        assert document["repository"].encode() == words[0]
        assert document["commit"].encode() in words[1:]
        assert document["ref"] == words[1].decode(errors="replace")
    else:
        assert done.returncode in (1, 2, 75)
        *_, last, end = done.stderr.split(b"\n")
        assert last.startswith(b"stage.sh: ")
        assert not end
        assert not re.search(rb"[\x00-\x1f\x7f]", last)
        assert not list(builds.rglob("build.json"))
        if done.returncode == 2:
            assert done.stderr.count(b"\n") == 1
    made = {p.relative_to(builds).parts[0] for p in builds.rglob("*")}
    assert made <= {".wake", os.fsdecode(words[0]).split("/")[0]}


NAME = TEXT.map(lambda t: t.replace("/", "_").replace("\0", ""))
PATHS = NAME.map(lambda t: t.replace("{c}", "c")[:60].lstrip("-/") or "x")
VALUES = st.text(st.characters(exclude_characters="\0"), max_size=20) | TEXT


@pytest.fixture(scope="module")
def recorder(tmp_path_factory):
    """A docker that fails, and notes the arguments of a build or run."""
    path = tmp_path_factory.mktemp("recorder") / "docker"
    path.write_text(
        "#!/bin/bash\n"
        '[[ $1 != build || $2 == --help ]] || printf "%s\\0" "$@" >"$0.args"\n'
        "[[ $1 == version ]]\n"
    )
    path.chmod(0o755)
    return path


@settings(FUZZ, max_examples=40)
@given(
    PATHS,
    PATHS,
    st.dictionaries(st.from_regex("[A-Z_]{1,5}", fullmatch=True), VALUES),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
)
def test_settings_are_refused_or_arrive_as_they_are(
    tmp_path, canary, recorder, context, dockerfile, arguments, ref
):
    """What config.json may say, docker is told, and no shell on the way."""
    arguments = {k: v.replace("{c}", str(canary)) for k, v in arguments.items()}
    own = {"context": context, "dockerfile": dockerfile, "build_args": arguments}
    config = tmp_path / "config.json"
    document = {"registry": "127.0.0.1:1", "builds": "builds"}
    config.write_text(json.dumps(document | {"repositories": {"o/n": own}}))
    try:
        resolved = load_config(str(config)).repositories["o/n"].document
    except ConfigError as e:
        assert "\n" not in str(e) or len(e.problems) > 1
        return
    build = tmp_path / "builds/o/n/20260101T000000.000001Z-1111111"
    shutil.rmtree(build, ignore_errors=True)
    folder = build / "src" / context
    folder.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", build / "src"], check=True)
    subprocess.run(
        ["git", "-C", build / "src", "commit", "-q", "--allow-empty", "-mx"],
        env=os.environ | GIT,
        check=True,
    )
    assume(not (build / "src" / dockerfile).exists())
    (folder / dockerfile).write_text("FROM scratch")
    (build / "labels").write_text("a=b\n")
    facts = {"format": 1, "id": build.name, "repository": "o/n", "ref": ref}
    facts |= {"commit": "1" * 40}
    (build / "build.json").write_text(json.dumps(facts | {"settings": resolved}))
    args = recorder.with_name("docker.args")
    args.unlink(missing_ok=True)
    done = subprocess.run(
        [ROOT / "scripts/build.sh", build],
        env=os.environ | {"DOCKER": str(recorder)},
        capture_output=True,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert b"does not build" in said.splitlines()[-1]
    told = args.read_bytes().decode().split("\0")
    given_args = {w for w in told if w.startswith("--build-arg=")}
    assert given_args == {f"--build-arg={k}={v}" for k, v in arguments.items()}
    file = told[told.index("--file") + 1]
    assert Path(file).samefile(folder / dockerfile)
    assert not canary.exists()


@given(st.lists(st.sampled_from([*ESCAPES, "\n", "a", "é", "\xc2"]), max_size=12))
def test_nothing_composes_a_control_character(parts):
    """However they are nested: what is left when one is removed is looked at too."""
    raw = b"".join(
        p.encode("latin-1") if p < "\u0100" else p.encode()[:2] for p in parts
    )
    for text in (raw, "".join(parts).encode()):
        cleaned = clean(text)
        assert_clean(cleaned)
        assert clean(cleaned) == cleaned


def test_what_is_harmless_stays():
    for text in "plain\ttext\n", "größe 東京 🐳\u200d👩 \xa0\n":
        assert clean(text.encode()).decode() == text
