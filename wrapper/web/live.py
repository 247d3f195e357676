"""The live log: the file is the buffer, each follower reads at its own place."""

import asyncio
import time
from collections.abc import AsyncIterator

from wrapper.builds.directory import Build
from wrapper.web.reader import Reader, Start, ended, event
from wrapper.web.world import World

LOOK = 0.1  # seconds between two looks at a log that grows, CALM at one that does not
CALM = 0.25
SILENCE = 15.0  # seconds without a word, before a comment is sent


async def follow(world: World, build: Build, start: Start) -> AsyncIterator[bytes]:
    """The events of one follower."""
    world.followers += 1
    reader = Reader(build, start)
    try:
        yield b"retry: 1000\n\n"
        spoken = time.monotonic()
        while not world.closing.is_set():
            over = ended(build)  # before the log, so that no byte comes after the end
            some = False
            for each in reader.events(over):
                some = True
                yield each
            now = time.monotonic()
            if some:
                spoken = now
                continue
            if over:
                yield event("end", build.result())
                return
            if reader.gone:
                return
            if now - spoken > SILENCE:
                spoken = now
                yield b": still here\n\n"
            await asyncio.sleep(LOOK if now - spoken < 5 else CALM)
    finally:
        reader.close()
        world.followers -= 1
