"""The poller's side of builds/.requests: each request is done, and answered."""

import json
import os
import pwd
import shutil
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from wrapper.builds.directory import write_json
from wrapper.builds.requests import Answer, Refused, Request, answer_file
from wrapper.console import line, say

KEPT = 3600.0  # seconds that an answer can be read, and that a request may be old
LARGEST = 65536  # bytes of a request
AT_ONCE = 16  # requests that are being done


class Inbox:
    """The poller's side. look() is for its own thread; each request has another one."""

    def __init__(
        self,
        builds: Path,
        perform: Callable[[Request], Answer],
        later: Callable[[Callable[[], object]], object],
    ) -> None:
        """perform is called in a request's thread; it may raise Refused.

        later, called in any thread, has a call made in the poller's, and then a look.
        """
        self._builds = builds
        self._folder = builds / ".requests"
        self._perform = perform
        self._later = later
        self._doing: set[str] = set()
        self._left: set[str] = set()  # what cannot be removed, and was said

    def open(self) -> Path:
        """Makes the folder, for the group of the builds folder, and returns it.

        Who may write there may leave a file, and remove none of another's.
        """
        answers = self._folder / "answers"
        answers.mkdir(parents=True, exist_ok=True)
        group = self._builds.stat().st_gid
        for folder, mode in ((answers, 0o750), (self._folder, 0o1770)):
            with suppress(OSError):  # a group that we are not in, say
                os.chown(folder, -1, group)
            with suppress(OSError):
                folder.chmod(mode)
        return self._folder

    def busy(self) -> bool:
        return bool(self._doing)

    def look(self) -> None:
        """Begins what is asked, and forgets old answers."""
        self._forget()
        with os.scandir(self._folder) as entries:
            found = sorted((e for e in entries if e.name != "answers"), key=_age)
        for entry in found:
            name = entry.name.removesuffix(".json")
            if name in self._doing or entry.name in self._left:
                continue
            if entry.name.startswith("."):  # it is being written
                if time.time() - _age(entry) > KEPT:
                    self._remove(entry.name)
            elif len(self._doing) < AT_ONCE:
                self._begin(name, entry.name)

    def _begin(self, name: str, file: str) -> None:
        try:
            request = _read(self._folder / file)
        except FileNotFoundError:  # taken back
            return
        except (ValueError, OSError) as e:
            say("poller", f"{self._folder}/{file} is no request, and goes: {e}")
            self._remove(file)
            return
        self._doing.add(name)
        work = threading.Thread(target=self._do, args=(name, request), daemon=True)
        work.start()

    def _do(self, name: str, request: Request) -> None:
        try:
            answer = self._perform(request)
        except Refused as e:
            answer = Answer(e.code, str(e))
        except Exception as e:  # never the end of the poller
            answer = Answer(1, f"internal error: {e!r}")
        try:
            document = answer._asdict() | {"message": line(answer.message)}
            write_json(answer_file(self._builds, name), document)
        except OSError as e:
            say("poller", f"{self._folder}/answers: {e.strerror}")
        self._remove(f"{name}.json")
        self._later(lambda: self._doing.discard(name))

    def _remove(self, file: str) -> None:
        path = self._folder / file
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as e:  # a folder of another user's, with something in it
            self._left.add(file)
            say("poller", f"{path}: {e.strerror} (remove it)")

    def _forget(self) -> None:
        with suppress(OSError), os.scandir(self._folder / "answers") as entries:
            for entry in entries:
                if time.time() - _age(entry) > KEPT:
                    os.unlink(entry.path)


def _age(entry: "os.DirEntry[str]") -> float:
    """When it was last changed, in epoch seconds."""
    try:
        return entry.stat(follow_symlinks=False).st_mtime
    except OSError:
        return time.time()


def _read(path: Path) -> Request:
    """Raises ValueError, in words, where it is none; OSError."""
    # A pipe would hold us up, and a link lead elsewhere.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(path, flags), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("it is no regular file")
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST >> 10} KiB")
    if time.time() - about.st_mtime > KEPT:
        raise ValueError("it is older than an hour")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(document, dict) or document.get("format") != 1:
        raise ValueError("it is not of format 1")
    what, by = document.get("what"), document.get("by")
    if not isinstance(what, str) or not isinstance(by, str):
        raise ValueError("it does not say what is wanted, or by whom")
    if about.st_uid not in (0, os.geteuid()):
        by = _owner(about.st_uid)  # whatever it says
    head = ("format", "what", "by", "at")
    return Request(
        what, line(by)[:100], {k: document[k] for k in document if k not in head}
    )


def _owner(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name}@{os.uname().nodename}"
    except KeyError:
        return f"{uid}@{os.uname().nodename}"
