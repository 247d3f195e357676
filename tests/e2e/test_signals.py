"""A signal for the poller reaches what it runs."""

import json
import signal
import time

import pytest

from tests.support.parts import application


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_build_ends_with_the_poller(
    make_repo, name, configure, builds, run_poller, base_image, number
):
    slow = {"test.js": "setTimeout(() => console.log('at last'), 20000)\n"}
    tree = make_repo(application(base_image) | slow)
    poller = run_poller(configure(name))
    poller.wait_for((builds / name / "state.json").exists)
    tree.commit()
    tree.push()
    poller.said("> node test.js", 60)
    began = time.monotonic()
    assert poller.stop(number) == 128 + number
    assert time.monotonic() - began < 15
    [build] = (builds / name).glob("*Z-*")
    result = build / "result.json"
    if number == signal.SIGTERM:  # to be gone on with
        assert not result.exists()
    else:
        assert json.loads(result.read_text())["status"] == "cancelled"
