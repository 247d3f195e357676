"""docker-build-server notify --test: is a target of NOTIFY_FILE told?"""

import os
import sys
from pathlib import Path

from wrapper.builds.deliver import Undelivered, deliver
from wrapper.builds.notices import message_of


def run(builds: Path, target: str) -> int:
    """Sends a message now. 0: it was taken, 1: it was not."""
    id = f"msg_test-{os.urandom(8).hex()}-{target}"
    try:
        deliver(target, message_of(id, "test", None, None))
    except Undelivered as e:
        print(f"{target}: {e}", file=sys.stderr)
        return 1
    print(f"{target} has taken {id}")
    return 0
