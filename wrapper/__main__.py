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

_WHAT = (
    "a ref, a build's ID, a version, 7 digits of a commit, or REPO: its newest build"
)


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
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(
        name: str, prepare: Callable[[str], str | Config | Path], words: str
    ) -> argparse.ArgumentParser:
        """prepare makes of the configuration's source what the command is given first;
        the rest are its arguments, by name.
        """
        one = commands.add_parser(name, help=words, description=words, parents=[shared])
        one.set_defaults(prepare=prepare)
        return one

    poll = command("poll", str, "notice pushes and build them")
    poll.add_argument("--once", action="store_true", help="one round, then end")
    _serve(command("serve", str, "answer over HTTP: the API and the page"))
    status = command("status", _builds, "list the builds: what runs, then the newest")
    status.add_argument("repository", metavar="REPO", nargs="?")
    words = "rows at most (30)"
    status.add_argument("-n", dest="number", type=_count, default=30, help=words)
    status.add_argument("--all", action="store_true", help="all of them")
    command("check", str, "check the configuration")
    command("doctor", str, "check everything a build needs")
    command("health", load, "does the poller do its work?")
    why = command("why", _builds, "the story of a commit, branch or tag")
    why.add_argument("name", metavar="SHA|REF")
    cancel = command("cancel", _builds, "end a build")
    cancel.add_argument("what", metavar="WHAT", action=_What, nargs="+", help=_WHAT)
    plan = command("plan", load, "version, tags and labels of a ref, without building")
    plan.add_argument("repository", metavar="REPO")
    plan.add_argument("ref", metavar="REF", nargs="?")
    trigger = command("trigger", _builds, "have the poller build something")
    trigger.add_argument("repository", metavar="REPO")
    trigger.add_argument("what", metavar="WHAT", nargs="?", help=_WHAT)
    rerun = command("rerun", _builds, "have the poller run a build once more")
    rerun.add_argument("what", metavar="WHAT", action=_What, nargs="+", help=_WHAT)
    rerun.add_argument("--from", dest="step", metavar="STEP", help="go on from a step")
    for name, words in (
        ("pause", "let nothing start, for maintenance"),
        ("resume", "what was paused goes on"),
    ):
        one = command(name, _builds, words)
        one.add_argument("repository", metavar="REPO", nargs="?", help="else all")
    return parser


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


def _poll(source: str, once: bool) -> int:
    from wrapper.poller import Poller

    os.umask(0o027)  # builds are for their user and the folder's group
    poller = Poller(source)
    for number in signal.SIGINT, signal.SIGTERM:
        signal.signal(number, lambda number, _: poller.stop(number))
    return poller.main(once)


if __name__ == "__main__":
    raise SystemExit(main())
