"""When something is to be tried again."""

import random
import time
from collections.abc import Callable

LONGEST = 15  # times the interval: the wait after troubles


class Backoff:
    """Due at once, then as one says; after troubles later and later.

    Says a trouble once, however often it comes again, and when it is over.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.due = 0.0  # monotonic
        self.trouble = ""
        self.answered = 0.0  # epoch seconds of the last success
        self._say = say
        self._announced = ""  # the trouble that was said last
        self._failures = 0

    def succeeded(self, wait: float) -> None:
        """Due again in wait seconds."""
        if self._announced:
            self._say("answers again")
        self.trouble = self._announced = ""
        self._failures = 0
        self.answered = time.time()
        self.due = time.monotonic() + wait

    def failed(
        self,
        words: str,
        interval: float,
        wait: float = 0,
        slow: bool = False,
        quiet: bool = False,
    ) -> None:
        """Due again after some intervals, and at least wait seconds.

        slow: only a person can help, so it is asked again seldom. quiet: others say it.
        """
        steps = LONGEST if slow else min(2**self._failures, LONGEST)
        self._failures = min(self._failures + 1, LONGEST)
        later = max(interval * steps * random.uniform(0.8, 1.2), wait)
        self.due = time.monotonic() + later
        if not quiet and words != self._announced:
            self._say(f"{words}; asked again in {max(later, 1):.0f} s")
            self._announced = words
        self.trouble = words
