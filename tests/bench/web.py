"""What answering over HTTP costs: 500 repositories, 20,000 builds, 100 followers.

Prints a line for each figure of the API, with the goal behind it; of what counts CPU
time (of the server's process), since a machine's seconds differ from hour to hour.

    python -m tests.bench.web
"""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.poll import cpu, memory
from tests.wrapper.test_store import many

REPOSITORIES, BUILDS, FOLLOWERS = 500, 20000, 100
PORT = 17070
LINE = (
    b"2026-11-26T05:10:00Z what a tool says of its work, a hundred bytes of it or so\n"
)


def say(what: str, figure: str, goal: str) -> None:
    print(f"{what:52} {figure:>30}   goal: {goal}", flush=True)


@contextlib.contextmanager
def server(folder: Path) -> Iterator[int]:
    """serve on a folder; gives its pid."""
    config = str(folder / "config.json")
    words = ["serve", "--config", config, "--listen", f"127.0.0.1:{PORT}"]
    command = [sys.executable, "-m", "wrapper", *words]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        while b"http://" not in (folder / "log").read_bytes():
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def get(path: str, **headers: str) -> bytes:
    line = http.client.HTTPConnection("127.0.0.1", PORT)
    line.request("GET", path, headers=headers)
    answer = line.getresponse()
    assert answer.status in (200, 304), answer.status
    body = answer.read()
    line.close()
    return body


def milliseconds(pid: int, call: Callable[[], object], times: int) -> float:
    """CPU of the server for one call."""
    used = cpu(pid)
    for _ in range(times):
        call()
    return (cpu(pid) - used) / times * 1000


class Followers:
    """Follow one log; how late each chunk came, and whether it all came."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.text = [bytearray() for _ in range(FOLLOWERS)]
        self.last = [""] * FOLLOWERS
        self.late: list[float] = []
        self.wrote: dict[int, float] = {}  # size of the log -> when it had that

    async def follow(self, number: int, reading: bool = True) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        query = f"from={self.last[number]}" if self.last[number] else "tail=all"
        words = f"GET {self.path}?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        writer.write(words.encode())
        try:
            while not reading:
                await asyncio.sleep(1)
            await reader.readuntil(b"\r\n\r\n")
            while line := await reader.readline():
                if line.startswith(b"id: "):
                    self.last[number] = line[4:].decode().strip()
                elif line.startswith(b'data: "'):
                    self._came(number, json.loads(line[6:]))
        finally:
            writer.close()

    def _came(self, number: int, text: str) -> None:
        self.text[number] += text.encode()
        wrote = self.wrote.get(len(self.text[number]))
        if wrote:
            self.late.append(time.monotonic() - wrote)


async def follow(pid: int, folder: Path, path: str, log: Path) -> None:
    """A log that grows by ten chunks a second is followed by a hundred."""
    followers = Followers(path)
    before = memory(pid)
    tasks = [asyncio.create_task(followers.follow(n)) for n in range(FOLLOWERS)]
    await asyncio.sleep(2)
    used, began = cpu(pid), time.monotonic()
    with log.open("ab", buffering=0) as file:
        for turn in range(200):
            file.write(LINE * 5)
            followers.wrote[file.tell()] = time.monotonic()
            await asyncio.sleep(0.1)
            if turn % 10 == 9:  # one of them goes, and comes back
                number = turn // 10
                tasks[number].cancel()
                tasks[number] = asyncio.create_task(followers.follow(number))
    share = (cpu(pid) - used) / (time.monotonic() - began)
    grown = memory(pid) - before
    await asyncio.sleep(2)
    whole = log.read_bytes()
    good = sum(text == whole for text in followers.text)
    late = sorted(followers.late)
    p99 = late[int(len(late) * 0.99)] * 1000
    words = f"+{grown:.1f} MiB, {share:.1%} of a core"
    say("100 followers", words, "+10 MiB, 10 %")
    words = f"median {statistics.median(late) * 1000:.0f}, p99 {p99:.0f} ms"
    say("from the file to a follower", words, "p99 300 ms")
    say("of them without gap or repeat, 20 reconnects", f"{good} of 100", "100")

    before = memory(pid)
    many = Followers(path)
    idle = [asyncio.create_task(many.follow(n, reading=False)) for n in range(50)]
    with log.open("ab", buffering=0) as file:
        for _ in range(100):
            file.write(LINE * 800)
            await asyncio.sleep(0.05)
    size = log.stat().st_size
    end = time.monotonic() + 60  # this process has a hundred times as much to read
    while any(len(t) < size for t in followers.text) and time.monotonic() < end:
        await asyncio.sleep(0.1)
    whole = log.read_bytes()
    good = sum(text == whole for text in followers.text)
    words = f"+{memory(pid) - before:.1f} MiB, {good} of 100 others whole"
    say("50 that never read, 6 MB later", words, "+12 MiB, 100")

    began = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        await asyncio.sleep(0.01)
    took = time.monotonic() - began
    traceback = "Traceback" in (folder / "log").read_text()
    words = f"{took:.2f} s{', with a traceback' if traceback else ''}"
    say("TERM with 150 streams", words, "0.5 s")
    for task in [*tasks, *idle]:
        task.cancel()
    await asyncio.gather(*tasks, *idle, return_exceptions=True)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench.") as name:
        folder = Path(name)
        many(folder / "builds", BUILDS, REPOSITORIES)
        names = [f"o/r{number}" for number in range(REPOSITORIES)]
        about = {"registry": "127.0.0.1:1", "repositories": {n: {} for n in names}}
        (folder / "config.json").write_text(json.dumps(about))
        build = max((folder / "builds/o/r0").iterdir())
        log = build / "console.log"
        time.sleep(3)  # a folder that was just changed is listed each time
        api = "/api/v1"
        with server(folder) as pid:
            cold = milliseconds(pid, lambda: get(f"{api}/builds"), 1)
            say("the newest 30 of 20,000, cold", f"{cold:.0f} ms CPU", "100 ms")
            warm = milliseconds(pid, lambda: get(f"{api}/builds"), 50)
            say("the newest 30 of 20,000", f"{warm:.1f} ms CPU", "8 ms")
            cold = milliseconds(pid, lambda: get(f"{api}/overview"), 1)
            say("overview of 500 repositories, cold", f"{cold:.0f} ms CPU", "")
            warm = milliseconds(pid, lambda: get(f"{api}/overview"), 20)
            kib = len(get(f"{api}/overview")) / REPOSITORIES / 1024
            words = f"{warm:.0f} ms CPU, {kib:.1f} KiB each"
            say("overview of 500 repositories", words, "80 ms, 4 KiB")

        with server(folder) as pid:
            get(f"{api}/openapi.json")
            used = cpu(pid)
            time.sleep(30)
            words = f"{memory(pid):.0f} MiB, {2 * (cpu(pid) - used):.2f} CPU s a minute"
            say("idle", words, "40 MiB, 0.1 s")

            log.write_bytes(LINE * (56_000_000 // len(LINE)))
            path = f"{api}/builds/o/r0/{build.name}/log"
            before, began, used = memory(pid), time.monotonic(), cpu(pid)
            get(path)
            took = time.monotonic() - began
            words = f"{took:.2f} s, {cpu(pid) - used:.2f} CPU s"
            words += f", +{memory(pid) - before:.1f} MiB"
            say("a log of 56 MB", words, "0.29 s, whatever its size")

            log.write_bytes(b"")
            (build / "result.json").unlink()
            asyncio.run(follow(pid, folder, f"{path}/events", log))


if __name__ == "__main__":
    main()
