"""What polling costs: 500 and 5,000 repositories in one poller, GitHub 50 ms away.

Prints polls per second and the CPU time of 1,000 conditional polls with all of them
asked as fast as it goes, and memory and CPU time where they are asked once a minute,
for two minutes; and whether GitHub's quota of 5,000 an hour has slowed that.
Then the seconds from an event in the feed to the first line of the build's first step.

    with-services python -m tests.bench.poll [PUSHES]
"""

import asyncio
import contextlib
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from tests.support.github import GitHub
from tests.support.parts import GIT, Poller, Tree, wait_for

REPOSITORIES, MANY, LATENCY, SECONDS = 500, 5000, 0.05, 15.0
LIMIT = 5000  # requests an hour that are not answered with 304
EVENT = {
    "id": "1",
    "type": "WatchEvent",
    "payload": {"action": "started"},
    "created_at": "2026-11-01T00:00:00Z",
}
BODY = json.dumps([EVENT] * 30).encode()
HEADERS = b'ETag: W/"x"\r\nX-Poll-Interval: 0\r\nContent-Type: application/json\r\n'
QUOTA = (
    b"X-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: %d\r\nX-RateLimit-Reset: %d\r\n"
)


def serve(port: Connection, polls: "Synchronized[int]") -> None:
    """GitHub with nothing new: counts the conditional polls it answers."""
    spent = 0
    reset = time.time() + 3600

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal spent
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(LATENCY)
                known = b"if-none-match" in head.lower()
                polls.value += known
                spent += not known
                status = b"304 Not Modified" if known else b"200 OK"
                body = b"" if known else BODY
                writer.write(b"HTTP/1.1 %s\r\n%s" % (status, HEADERS))
                writer.write(QUOTA % (LIMIT, max(0, LIMIT - spent), reset))
                writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
                await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def cpu(pid: int) -> float:
    """Seconds of CPU time of a process and of what it has started and waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    """MiB in use."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@contextlib.contextmanager
def poller(
    folder: Path, api: str, interval: float, repositories: int = REPOSITORIES
) -> Iterator[int]:
    """A poller of so many, each on one git repository; gives its pid."""
    config = folder / "config.json"
    url = (folder / "origin.git").as_uri()
    about = {
        "registry": os.environ["REGISTRY"],  # one that is away is asked after often
        "poll": {"interval": interval, "sweep": 86400},
        "repositories": {f"o/r{n}": {"url": url} for n in range(repositories)},
    }
    config.write_text(json.dumps(about))
    command = [sys.executable, "-m", "wrapper", "poll", "--config", str(config)]
    environment = os.environ | {"GITHUB_API_URL": api, "GITHUB_TOKEN": "any"}
    environment["GITHUB_SERVER_URL"] = folder.as_uri()  # else it would have no feeds
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        health = folder / "builds/.health.json"
        health.unlink(missing_ok=True)
        while not health.exists() or '"compared": 0' in health.read_text():
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.5)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def latency(folder: Path, pushes: int) -> list[float]:
    """Seconds from events that show to first lines; polls are 0.1 s apart."""
    with GitHub(folder / "github") as hub:
        tree = Tree(folder / "tree", "o/n", hub.create("o/n"))
        tree.commit({"README.md": "No Dockerfile, so the build ends soon.\n"})
        tree.push()
        config = folder / "latency.json"
        about: dict[str, object] = {"registry": "127.0.0.1:1", "builds": "latency"}
        about |= {"poll": {"interval": 0.1}, "repositories": {"o/n": {}}}
        config.write_text(json.dumps(about))
        server = {"GITHUB_API_URL": hub.url, "GITHUB_SERVER_URL": hub.url}
        poller = Poller(config, folder / "latency.log", os.environ | GIT | server)
        poller.said("noted main")
        times = []
        for _ in range(pushes):
            hub.hold("o/n")
            tree.commit()
            tree.push()
            before, began = len(poller.output), time.monotonic()
            hub.release("o/n")
            while "clone.sh: " not in poller.output[before:]:
                time.sleep(0.002)
            times.append(time.monotonic() - began)
            wait_for(lambda: poller.output.count("finished") == len(times))
        poller.stop()
    return times


def main() -> None:
    ours, theirs = multiprocessing.Pipe()
    polls = multiprocessing.Value("q", lock=False)
    server = multiprocessing.Process(target=serve, args=(theirs, polls), daemon=True)
    server.start()
    api = f"http://127.0.0.1:{ours.recv()}"
    with tempfile.TemporaryDirectory(prefix="bench.") as name:
        folder = Path(name)
        subprocess.run(
            ["git", "init", "-q", "--bare", folder / "origin.git"], check=True
        )
        git = ["git", "-C", str(folder / "origin.git")]
        tree = ["hash-object", "-t", "tree", "-w", "/dev/null"]
        empty = subprocess.check_output([*git, *tree], text=True).strip()
        commit = subprocess.check_output(
            [*git, "commit-tree", "-m", "x", empty], env=os.environ | GIT, text=True
        )
        subprocess.run([*git, "update-ref", "refs/heads/main", commit.strip()])

        with poller(folder, api, 0.01) as pid:
            used, count = cpu(pid), polls.value
            time.sleep(SECONDS)
            used, count = cpu(pid) - used, polls.value - count
        rate = count / SECONDS
        print(f"{rate:.0f} polls a second, a round of {REPOSITORIES} in", end=" ")
        print(f"{REPOSITORIES / rate:.1f} s, {used / count * 1000:.2f} CPU s for 1,000")

        for repositories in REPOSITORIES, MANY:
            with poller(folder, api, 60, repositories) as pid:
                time.sleep(SECONDS)
                used = cpu(pid)
                time.sleep(120)
                print(
                    f"{repositories} asked once a minute: {memory(pid):.0f} MiB", end=""
                )
                print(f", {(cpu(pid) - used) / 2:.2f} CPU s a minute", end="")
            slowed = "rate limit" in (folder / "log").read_text()
            print(", slowed by the quota" if slowed else ", not slowed by the quota")
        server.terminate()

        times = latency(folder, int(sys.argv[1]) if len(sys.argv) > 1 else 9)
        print(f"from event to first line: {statistics.median(times):.2f} s", end=" ")
        print(
            f"({min(times):.2f} to {max(times):.2f}), up to 0.1 s of it until the poll"
        )


if __name__ == "__main__":
    main()
