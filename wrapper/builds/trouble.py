"""What is wrong with this host, so that builds wait instead of being spent.

An engine that is away, a disk that is full, a registry that cannot be reached, a tool
that is missing: nothing starts, it is said once, and all goes on by itself afterwards.
"""

import re
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from wrapper.builds import host
from wrapper.builds.host import FAIL, Finding
from wrapper.config.load import Config
from wrapper.console import say

SELDOM = 60.0  # seconds between two checks while all is well
OFTEN = 3.0  # while it is not
WHO = "host"
TOOLS = "git", "jq", "skopeo"  # that every build needs; docker is asked itself


class HostWatch:
    """check() may be called in any thread; the rest is for the poller's."""

    def __init__(self, config: Config, changed: Callable[[], object]) -> None:
        """changed is called, in any thread, when a trouble comes or is over."""
        self.troubles: list[str] = []
        self._config = config
        self._changed = changed
        self._checking = threading.Lock()
        self._checked = -SELDOM  # monotonic
        self._busy = False
        self._looked = False  # at all of it

    def configure(self, config: Config) -> None:
        self._config = config

    def look(self) -> float:
        """Has a thread check where that is due; seconds until it is due again."""
        gap = OFTEN if self.troubles else SELDOM
        left = self._checked + gap - time.monotonic()
        if left <= 0 and not self._busy:
            self._busy = True
            threading.Thread(target=self._check_once, daemon=True).start()
            return gap
        return max(left, OFTEN / 10)

    def check(self, registry: bool = True) -> bool:
        """Looks now, at the registry too if that is wanted; is anything wrong?"""
        with self._checking:
            found = [finding.line for finding in findings(self._config, registry)]
            before, self.troubles = self.troubles, found
            self._checked = time.monotonic()
            for line in found:
                if kind(line) not in map(kind, before):
                    say(WHO, f"{line}; nothing starts until that is over")
            if before and not found:
                say(WHO, "all is well again, builds go on")
        if bool(before) != bool(found):
            self._changed()
        return bool(found)

    def _check_once(self) -> None:
        try:
            # A registry may count how often it is asked.
            self.check(registry=bool(self.troubles) or not self._looked)
            self._looked = True
        except Exception as e:  # no process left, say
            say(WHO, f"cannot be checked: {e!r}")
            self._checked = time.monotonic()
        finally:
            self._busy = False


def findings(config: Config, registry: bool) -> list[Finding]:
    """What would fail any build now."""
    found = [
        Finding(FAIL, f"{tool} is not installed (see docker-build-server doctor)")
        for tool in TOOLS
        if not shutil.which(tool)
    ]
    engine = next(host.cluster() if config.on_kubernetes else host.engine())
    for folder in _folders(config.builds):
        found += host.disk(folder, config.disk_free_min)
    if registry and engine.level != FAIL and not config.on_kubernetes:  # docker asks it
        images = [settings.image for settings in config.repositories.values()]
        answer = host.registry(config.registry, (images or ["doctor"])[0])
        if "cannot be reached" in answer.line:  # it may refuse a name, and take others
            engine = next(host.engine())  # that asked it, and may have gone meanwhile
            found += [answer] if engine.level != FAIL else []
    return [one for one in [engine, *found] if one.level == FAIL]


def _folders(builds: Path) -> list[Path]:
    """Where builds are, and where the engine keeps its data, if that is known here."""
    try:
        engine = Path((builds / ".cache/engine").read_text().strip())
    except OSError:
        return [builds]
    return [builds, engine] if engine.is_dir() else [builds]


def kind(line: str) -> str:
    """A trouble without its figures, which change while it lasts."""
    return re.sub(r"\d+", "", line)
