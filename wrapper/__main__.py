"""docker-build-server: pushes to GitHub become tested images in a registry."""

import argparse
import os
import signal
import sys
from pathlib import Path

from wrapper.config import load as config
from wrapper.config.load import Config, ConfigError


def main(argv: list[str] | None = None) -> int:
    """The command line. Exit codes: 0 done, 1 not well, 2 called wrongly."""
    args = _parser().parse_args(argv)
    os.environ.setdefault("PYTHON", sys.executable)  # for the scripts
    os.environ["CONFIG"] = source = args.config or config.default_source()
    try:
        if args.command == "poll":
            return _poll(source, args.once)
        if args.command == "check":
            return config.check(source)
        if args.command == "doctor":
            from wrapper.commands import doctor

            return doctor.doctor(source)
        return _ask(args, config.load(source))
    except ConfigError as e:
        print(e, file=sys.stderr)
        if args.command in ("status", "why", "cancel"):  # which only look at builds
            return _look(args, config.usual_builds(source))
        return 1


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    words = "a file or URL (else CONFIG, else config.json)"
    shared.add_argument("--config", help=words, default=argparse.SUPPRESS)
    parser = argparse.ArgumentParser("docker-build-server", description=__doc__)
    parser.add_argument("--config", help=words)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, words: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=words, description=words, parents=[shared]
        )

    poll = command("poll", "notice pushes and build them")
    poll.add_argument("--once", action="store_true", help="one round, then end")
    command("status", "list the builds")
    command("check", "check the configuration")
    command("doctor", "check everything a build needs")
    command("health", "does the poller do its work?")
    why = command("why", "the story of a commit, branch or tag")
    why.add_argument("name", metavar="SHA|REF")
    cancel = command("cancel", "end a build")
    cancel.add_argument("build", metavar="BUILD", help="its directory or ID")
    for name, words in (
        ("plan", "version, tags and labels of a ref, without building"),
        ("trigger", "put a ref into the poller's queue"),
    ):
        asked = command(name, words)
        asked.add_argument("repository", metavar="REPO")
        asked.add_argument("ref", metavar="REF", nargs="?")
    return parser


def _poll(source: str, once: bool) -> int:
    from wrapper.poller import Poller

    poller = Poller(source)
    for number in signal.SIGINT, signal.SIGTERM:
        signal.signal(number, lambda number, _: poller.stop(number))
    return poller.main(once)


def _ask(args: argparse.Namespace, settings: Config) -> int:
    """Everything that is no poller, and needs the configuration."""
    match args.command:
        case "health":
            from wrapper.commands import health

            return health.health(settings)
        case "plan":
            from wrapper.commands import plan

            return plan.plan(settings, args.repository, args.ref)
        case "trigger":
            from wrapper.pushes import stager as staging

            return staging.trigger(settings, args.repository, args.ref)
        case _:
            return _look(args, settings.builds)


def _look(args: argparse.Namespace, builds: Path) -> int:
    """What needs the builds directory alone."""
    match args.command:
        case "status":
            from wrapper.commands import status

            return status.status(builds)
        case "why":
            from wrapper.builds import journal

            return journal.why(builds, args.name)
        case _:
            from wrapper.commands import cancel

            return cancel.cancel(builds, args.build)


if __name__ == "__main__":
    raise SystemExit(main())
