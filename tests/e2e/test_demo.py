"""The README's first command, on the engine that is there already."""

import re
import subprocess

from tests.support.parts import ROOT


def test_the_demo_ends_with_tags_and_their_digests():
    done = subprocess.run(
        [ROOT / "tests/support/demo"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout[done.stdout.rindex("Version 1.1.0") :]
    tags = re.findall(r":([\w.-]+) +sha256:[0-9a-f]{64}$", last, re.MULTILINE)
    assert {"1.1.0", "1.1", "1", "latest", "main"} <= set(tags)
    assert "less .demo/builds/demo/hello/latest/console.log" in last
