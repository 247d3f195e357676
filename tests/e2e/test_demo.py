"""The README's first command, on the engine that is there already."""

import os
import re
import signal
import subprocess

import requests

from tests.support.parts import ROOT, wait_for


def test_the_demo_ends_with_tags_and_their_digests_on_a_page(tmp_path):
    output = tmp_path / "output"
    with output.open("w") as log:
        demo = subprocess.Popen(
            [ROOT / "tests/support/demo"],
            env={**os.environ, "PAGE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        address = re.compile("The page: (http://127[0-9.:]+)/")
        page = wait_for(lambda: address.findall(output.read_text()), 300)[0]
        overview = requests.get(f"{page}/api/v1/overview").json()
        assert overview["red"][0]["build"]["failed_step"] == "unit-test"
        assert "<title>Builds" in requests.get(page).text
    finally:
        os.killpg(demo.pid, signal.SIGINT)  # as Ctrl-C does
        demo.wait(60)
    text = output.read_text()
    last = text[text.rindex("Version 1.1.0") :]
    assert re.search(r"console.log:\d+: not ok 1 - greets by name, and says", last)
    assert "failure at unit-test" in last
    assert "docker-build-server status" in last
    tags = re.findall(r":([\w.-]+) +sha256:[0-9a-f]{64}$", last, re.MULTILINE)
    assert {"1.1.0", "1.1", "1", "latest", "main"} <= set(tags)
    assert "less .demo/builds/demo/hello/latest/console.log" in last
