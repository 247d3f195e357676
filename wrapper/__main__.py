"""docker-build-server: pushes to GitHub become tested images in a registry."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from wrapper.config.load import Config, ConfigError, default_source, load, usual_builds
from wrapper.config.schema import steps

_WHAT = (
    "a ref, a build's ID, a version, 7 digits of a commit, or REPO: its newest build"
)

_STEP = f"go on from a step, to the end: {', '.join(steps())}"


def main(argv: list[str] | None = None) -> int:
    """The command line. Exit codes: 0 done, 1 not well, 2 called wrongly.

    141: whoever was to read what is printed has gone.
    """
    words = vars(_parser().parse_args(argv))
    name, prepare = words.pop("command"), words.pop("prepare")
    os.environ.setdefault("PYTHON", sys.executable)  # for the scripts
    os.environ["CONFIG"] = source = words.pop("config") or default_source()
    if isinstance(sys.stdout, TextIOWrapper):  # names of any script, in any locale
        sys.stdout.reconfigure(errors="replace")
    try:
        # Each command is a module, loaded when it is wanted: some take long to load.
        room = "web" if name == "serve" else "commands"
        run = _poll if name == "poll" else import_module(f"wrapper.{room}.{name}").run
        code: int = run(prepare(source), **words)
        sys.stdout.flush()
        return code
    except ConfigError as e:
        print(e, file=sys.stderr)
        return 1
    except ModuleNotFoundError as e:
        if name != "serve":
            raise
        advice = "pip install 'docker-build-server[web]', or make setup"
        print(f"serve needs the extra web: {e} ({advice})", file=sys.stderr)
        return 1
    except PermissionError as e:
        advice = "the builds are for their user and the folder's group: ls -ld tells"
        print(f"{e.filename}: permission denied ({advice})", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Python would flush once more at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    words = "a file or URL (else CONFIG, else config.json)"
    shared.add_argument("--config", help=words, default=argparse.SUPPRESS)
    parser = argparse.ArgumentParser("docker-build-server", description=__doc__)
    parser.add_argument("--config", help=words)
    parser.add_argument("--version", action=_Version, help="print it, and end")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(
        name: str,
        prepare: Callable[[str], str | Config | Path],
        words: str,
        example: str = "",
        codes: str = "0 done, 2 called wrongly",
    ) -> argparse.ArgumentParser:
        """prepare makes of the configuration's source what the command is given first;
        the rest are its arguments, by name. example: what stands behind the command.
        """
        line = f"docker-build-server {name} {example}".rstrip()
        one = commands.add_parser(
            name,
            help=words,
            description=words,
            parents=[shared],
            epilog=f"example: {line}\n\nexit codes: {codes}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.set_defaults(prepare=prepare)
        return one

    _add_poller(command)
    _add_readers(command)
    _add_requests(command)
    return parser


def _add_poller(command: Callable[..., argparse.ArgumentParser]) -> None:
    """The server itself, and what checks it."""
    codes = "0 done, 69 another polls for this folder, 130 and 143 ended by a signal"
    poll = command("poll", str, "notice pushes and build them", "", codes)
    poll.add_argument("--once", action="store_true", help="one round, then end")
    loud = poll.add_mutually_exclusive_group()
    words = "show what builds print (else on a terminal alone)"
    loud.add_argument("-v", "--verbose", action="store_true", help=words)
    loud.add_argument("-q", "--quiet", action="store_true", help="never show that")
    words = "answer over HTTP: the API and the page"
    codes = "2 called wrongly, 130 and 143 ended by a signal"
    _serve(command("serve", str, words, "--token-file F --allow steps", codes))
    codes = "0 nothing is wrong, 1 something is"
    command("check", str, "check the configuration", "", codes)
    command("doctor", str, "check everything a build needs", "", codes)
    words = "does the poller do its work?"
    command("health", load, words, "", "0 all is well, 1 it is not")


def _add_readers(command: Callable[..., argparse.ArgumentParser]) -> None:
    """What only reads the builds folder."""
    codes = "0 done, 1 no such repository, or not yours to read"
    words = "what is built now, and the newest build of each ref"
    status = command("status", _builds, words, "owner/name", codes)
    status.add_argument("repository", metavar="REPO", nargs="?")
    words = "rows at most (30)"
    status.add_argument("-n", dest="number", type=_count, default=30, help=words)
    status.add_argument("--all", action="store_true", help="every build")
    status.add_argument("--json", dest="as_json", action="store_true", help="as JSON")
    codes = "0 done, 1 no such part, 2 no such build; with -f those of the build"
    log = command("log", _builds, "the console of a build", "owner/name main -f", codes)
    log.add_argument("what", metavar="WHAT", action=_What, nargs="*", help=_WHAT)
    words = "follow it to its end, and end as it did"
    log.add_argument("-f", dest="follows", action="store_true", help=words)
    log.add_argument("--step", help="of this step alone")
    words = "only the lines that say why it failed, and some around them"
    log.add_argument("--failed", action="store_true", help=words)
    words = "the story of a commit, branch, tag, version or build; why it is red"
    why = command("why", _builds, words, "1a2b3c4", "0 done, 1 nothing is known of it")
    why.add_argument("what", metavar="WHAT", action=_What, nargs="+", help=_WHAT)
    why.add_argument("--json", dest="as_json", action="store_true", help="as JSON")
    words = "which version each image tag is, since when, and what it was before"
    images = command("images", _builds, words, "owner/name", "0 done, 1 nothing known")
    images.add_argument("repository", metavar="REPO", nargs="?")
    images.add_argument("--all", action="store_true", help="and all that stay")
    images.add_argument("--json", dest="as_json", action="store_true", help="as JSON")
    words = "version, tags and labels of a ref, without building"
    plan = command(
        "plan", load, words, "owner/name main", "0 done, 1 it gets none, 2 no such name"
    )
    plan.add_argument("repository", metavar="REPO")
    plan.add_argument("ref", metavar="REF", nargs="?")
    plan.add_argument("--json", dest="as_json", action="store_true", help="as JSON")


def _add_requests(command: Callable[..., argparse.ArgumentParser]) -> None:
    """What asks the running poller."""
    codes = "0 done, 1 refused, 2 called wrongly, 69 no poller runs, 75 try again"
    waits = f"{codes}; with --wait those of the build"
    words = "have the poller build something"
    trigger = command("trigger", _builds, words, "owner/name main --wait", waits)
    trigger.add_argument("repository", metavar="REPO")
    trigger.add_argument("what", metavar="WHAT", nargs="?", help=_WHAT)
    words = "release it as this, which its package.json has"
    trigger.add_argument("--version", metavar="V", help=words)
    words = "have the poller run a build once more"
    rerun = command("rerun", _builds, words, "owner/name main --from unit-test", waits)
    rerun.add_argument("what", metavar="WHAT", action=_What, nargs="+", help=_WHAT)
    rerun.add_argument("--from", dest="step", metavar="STEP", help=_STEP)
    for one in trigger, rerun:
        one.add_argument("--wait", action="store_true", help="follow it to its end")
    words = "0 cancelled, 1 it had ended, 2 no such build, 69 no poller runs"
    cancel = command("cancel", _builds, "end a build", "owner/name main", words)
    cancel.add_argument("what", metavar="WHAT", action=_What, nargs="+", help=_WHAT)
    words = "latest and its kin leave a version, for the highest that is left"
    withdraw = command("withdraw", _builds, words, "owner/name 1.1.0", codes)
    withdraw.add_argument("repository", metavar="REPO")
    withdraw.add_argument("version", metavar="VERSION")
    withdraw.add_argument("--undo", action="store_true", help="it counts again")
    words = "a name of your own, as production, goes to a version"
    promote = command("promote", _builds, words, "owner/name 1.1.0 production", codes)
    promote.add_argument("repository", metavar="REPO")
    promote.add_argument("version", metavar="VERSION")
    promote.add_argument("names", metavar="NAME", nargs="+")
    words = "remove what is left of a repository: builds, images here, caches, state"
    forget = command("forget", _builds, words, "owner/name", codes)
    forget.add_argument("repository", metavar="REPO")
    forget.add_argument("--yes", action="store_true", help="do not ask first")
    words = "send a message to a target of NOTIFY_FILE"
    notify = command("notify", _builds, words, "--test team", "0 it was taken, 1 not")
    notify.add_argument("--test", dest="target", metavar="TARGET", required=True)
    for name, words in (
        ("pause", "let nothing start, for maintenance"),
        ("resume", "what was paused goes on"),
    ):
        one = command(name, _builds, words, "owner/name", codes)
        one.add_argument("repository", metavar="REPO", nargs="?", help="else all")


class _Version(argparse.Action):
    """Prints the version of what is installed, as pyproject.toml has it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"nargs": 0, "dest": argparse.SUPPRESS})

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"{parser.prog} {version(parser.prog)}")
        parser.exit()


class _What(argparse.Action):
    """WHAT, or REPO WHAT."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option: str | None = None,
    ) -> None:
        if len(values) > 2:
            parser.error("more than REPO and WHAT")
        setattr(namespace, self.dest, values)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError("a number of rows")
    return int(text)


def _serve(serve: argparse.ArgumentParser) -> None:
    """Its arguments: wrapper/web/options.py says what they mean."""
    words = "HOST:PORT, or unix:PATH (127.0.0.1:7070)"
    serve.add_argument(
        "--listen", default="127.0.0.1:7070", metavar="WHERE", help=words
    )
    words = "who knows a line of it may read, and do what --allow says"
    serve.add_argument("--token-file", type=Path, metavar="F", help=words)
    words = "with the token: builds, steps, publish, config (none)"
    serve.add_argument("--allow", type=_words, default=frozenset(), help=words)
    words = "webhooks are signed by a line of it"
    serve.add_argument("--hook-secret-file", type=Path, metavar="F", help=words)
    words = "a name by which it may be asked, besides this machine's own"
    serve.add_argument(
        "--host", dest="hosts", action="append", default=[], metavar="NAME", help=words
    )
    serve.add_argument("--url", help="where people find it, behind a proxy")
    words = "reading takes no token"
    serve.add_argument("--public-read", action="store_true", help=words)
    words = "badges take no token"
    serve.add_argument("--public-badge", action="store_true", help=words)


def _words(text: str) -> frozenset[str]:
    return frozenset(filter(None, text.split(",")))


def _builds(source: str) -> Path:
    """The builds folder. A bad configuration, of which it tells, does not hide it."""
    try:
        return load(source).builds
    except ConfigError as e:
        print(e, file=sys.stderr)
        return usual_builds(source)


def _poll(source: str, once: bool, verbose: bool, quiet: bool) -> int:
    from wrapper.console import show_builds
    from wrapper.poller import Poller

    show_builds(True if verbose else False if quiet else None)

    os.umask(0o027)  # builds are for their user and the folder's group
    poller = Poller(source)
    for number in signal.SIGINT, signal.SIGTERM:
        signal.signal(number, lambda number, _: poller.stop(number))
    return poller.main(once)


if __name__ == "__main__":
    raise SystemExit(main())
