"""One answer over HTTP, of so many bytes at most, and there within so many seconds.

requests bounds neither: its limit of time begins anew with each byte, and it unzips
whatever comes, also of a redirect that it does not follow.
"""

import os
import socket
import threading
import zlib
from contextlib import suppress
from typing import Any
from urllib.parse import urljoin

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

MOST = 10 << 20  # bytes, unzipped
SECONDS = 30.0  # for the whole of it, redirects included
TIMEOUT = (5, 15)  # seconds to connect, and to wait for a byte
_LARGE = 1 << 20  # bytes; of answers that are larger
_large = threading.Semaphore(2)  # so many are read at once
_current = threading.local()  # .call: the _Call of this thread


class TooSlow(requests.Timeout):
    """It had not ended in time."""


class TooLarge(requests.RequestException):
    """It has more bytes than it may."""


def session(connections: int = 10) -> requests.Session:
    """One whose requests ask() can end."""
    made = requests.Session()
    for scheme in "https://", "http://":
        made.mount(scheme, _Adapter(pool_maxsize=connections))
    return made


def ask(
    session: requests.Session,
    method: str,
    url: str,
    redirects: int = 0,
    most: int = MOST,
    seconds: float | None = None,
    **request: Any,
) -> requests.Response:
    """The answer, its body read. session: of session(); request: as of requests.

    redirects: how many are followed; they count as one call. Raises TooSlow, TooLarge
    and what else requests raises.
    """
    limit = SECONDS if seconds is None else seconds
    history: list[requests.Response] = []
    with _Call(limit) as call:
        try:
            while True:
                response = _send(session, method, url, most, request)
                if call.over:  # what was cut off can look like an end
                    raise TooSlow(f"no end of it within {limit:.0f} s")
                response.history = list(history)
                if not (redirects and response.is_redirect):
                    return response
                if len(history) == redirects:
                    raise requests.TooManyRedirects(f"Exceeded {redirects} redirects.")
                history.append(response)
                url = urljoin(url, response.headers["Location"])
        except (requests.RequestException, OSError, ValueError):
            if call.over:
                raise TooSlow(f"no end of it within {limit:.0f} s") from None
            raise


def _send(
    session: requests.Session, method: str, url: str, most: int, request: dict[str, Any]
) -> requests.Response:
    headers = {"Accept-Encoding": "gzip"} | request.get("headers", {})
    about = requests.Request(method, url, **request | {"headers": headers})
    prepared = session.prepare_request(about)
    assert prepared.url is not None
    options: Any = session.merge_environment_settings(
        prepared.url, {}, True, None, None
    )
    # Not the session's own send: of a redirect that reads and unzips all there is.
    response = session.get_adapter(prepared.url).send(
        prepared, timeout=TIMEOUT, **options
    )
    try:
        response._content = _body(response, most)
        response._content_consumed = True  # type: ignore[attr-defined]
    except HTTPError as e:
        raise requests.ConnectionError(e) from None
    finally:
        response.close()
    return response


def _body(response: requests.Response, most: int) -> bytes:
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    if coding not in ("", "identity", "gzip", "x-gzip"):
        raise requests.exceptions.ContentDecodingError(f"it is encoded as {coding}")
    body, unzip, zipped = bytearray(), _Unzip(), coding.endswith("gzip")
    large = False
    try:
        while chunk := response.raw.read(1 << 16, decode_content=False):
            left = most + 1 - len(body)
            body += unzip(chunk, left) if zipped else chunk[:left]
            if len(body) > most:
                raise TooLarge(f"more than {most >> 20} MiB")
            if len(body) > _LARGE and not large:
                large = _large.acquire(timeout=SECONDS)
    finally:
        if large:
            _large.release()
    if zipped and not unzip.whole:
        raise requests.exceptions.ContentDecodingError("half of what was zipped")
    return bytes(body)


class _Unzip:
    """gzip, one member behind another."""

    def __init__(self) -> None:
        self.whole = True
        self._member = zlib.decompressobj(31)

    def __call__(self, chunk: bytes, most: int) -> bytes:
        """So many bytes at most; with less of them all of the chunk is in them."""
        found = b""
        try:
            while chunk and len(found) < most:
                if self._member.eof:
                    self._member = zlib.decompressobj(31)
                found += self._member.decompress(chunk, most - len(found))
                chunk = self._member.unused_data
        except zlib.error as e:
            raise requests.exceptions.ContentDecodingError(str(e)) from None
        self.whole = self._member.eof
        return found


class _Call:
    """What one call uses of the network, so that it can be ended from outside.

    A limit for each byte would never end what drips, nor would a closed descriptor
    end a reading of it: only a shutdown of the connection does.
    """

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._changing = threading.Lock()
        self._lines: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> "_Call":
        _current.call = self
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        _current.call = None
        self._timer.cancel()
        with self._changing:
            for line in self._lines:
                line.close()
            self._lines.clear()

    def use(self, line: socket.socket) -> None:
        """Of this very connection a descriptor of our own, whatever TLS makes of it."""
        with self._changing:
            self._lines.append(socket.socket(fileno=os.dup(line.fileno())))
            if self.over:
                self._shut()

    def _end(self) -> None:
        with self._changing:
            self.over = True
            self._shut()

    def _shut(self) -> None:
        for line in self._lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)


def _use(line: socket.socket | None) -> None:
    call = getattr(_current, "call", None)
    if line is not None and call:
        call.use(line)


class _Plain(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        line = super()._new_conn()
        _use(line)
        return line

    def putrequest(self, *args: Any, **options: Any) -> None:
        _use(self.sock)  # kept from an earlier call
        super().putrequest(*args, **options)


class _Secure(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        line = super()._new_conn()
        _use(line)
        return line

    def putrequest(self, *args: Any, **options: Any) -> None:
        _use(self.sock)
        super().putrequest(*args, **options)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        _take_our_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        _take_our_pools(manager)
        return manager


def _take_our_pools(manager: Any) -> None:
    manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
