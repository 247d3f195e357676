"""docker-build-server serve: the process that answers over HTTP, until it is ended."""

import asyncio
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from wrapper.console import say
from wrapper.web.app import application
from wrapper.web.options import Options, Refused

HEAD_SECONDS = 30.0  # for the head of a request, and between two
LAST_SECONDS = 0.1  # that answers get to end, once we are told to


def run(source: str, **given: Any) -> int:
    """Serves until TERM or INT. 128 + the signal; 2 where it is called wrongly."""
    try:
        hosts = frozenset(name.lower() for name in given.pop("hosts"))
        options = Options(source=source, hosts=hosts, **given)
        options.check()
        listener = _listen(options)
    except Refused as e:
        print(f"serve: {e}", file=sys.stderr)
        return 2
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # a thousand idle connections are no trouble
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65536), most))
    server = Server(options)
    for number in signal.SIGINT, signal.SIGTERM:
        signal.signal(number, server.handle_exit)
    rights = ", ".join(sorted(options.allow)) or "reading"
    listener.listen()  # whoever reads the next line may ask at once
    say("serve", f"{where(listener)}, rights: {rights}")
    server.run(sockets=[listener])
    return 128 + server.stopped_by


class Server(uvicorn.Server):
    """uvicorn, which ends streams at once when it is told to end."""

    def __init__(self, options: Options) -> None:
        guard: Any = application(options)
        super().__init__(
            uvicorn.Config(
                guard,
                http=Impatient,
                ws="none",
                lifespan="off",
                log_level="critical",
                access_log=False,
                server_header=False,
                # Behind a proxy the address of who asks stands in X-Forwarded-For.
                proxy_headers=options.url is not None,
                forwarded_allow_ips="127.0.0.1,::1",
                timeout_graceful_shutdown=LAST_SECONDS,  # type: ignore[arg-type]
            )
        )
        self.world = guard.app.state.world
        self.stopped_by = 0
        self._told = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.stopped_by = sig
        self.world.closing.set()
        self.should_exit = True
        if self._loop:
            self._loop.call_soon_threadsafe(self._told.set)

    async def main_loop(self) -> None:
        """Once a second, for the Date of answers; uvicorn's own wakes ten times."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), 1)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn would raise them again at the end: our exit code tells."""
        yield


class Impatient(H11Protocol):
    """Closes a connection on which no request comes."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._seen: object = self  # a first look closes nothing
        self._watch()

    def _watch(self) -> None:
        if self.transport.is_closing():
            return
        busy = self.cycle is not None and not self.cycle.response_complete
        if not busy and self.cycle is self._seen:
            self.transport.close()
            return
        self._seen = self.cycle
        self.loop.call_later(HEAD_SECONDS, self._watch)


def _listen(options: Options) -> socket.socket:
    host, port = options.address
    try:
        if not host:
            return _listen_in_files(Path(options.listen.removeprefix("unix:")))
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        return listener
    except OSError as e:
        words = f"--listen {options.listen}: {e.strerror or e}"
        raise Refused(f"{words} (is it taken? another port is free)") from None


def _listen_in_files(path: Path) -> socket.socket:
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.connect(str(path))
        raise Refused(f"--listen unix:{path}: another process answers there")
    with suppress(FileNotFoundError):
        path.unlink()
    before = os.umask(0o117)  # for its user and group
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
    finally:
        os.umask(before)
    return listener


def where(listener: socket.socket) -> str:
    """http://127.0.0.1:7070, or unix:PATH"""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{name}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"http://{host}:{name[1]}"
