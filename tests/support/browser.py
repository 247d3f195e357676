"""Debian's chromium without a screen, by the DevTools protocol."""

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

from tests.support.parts import ROOT, wait_for

SERVICES = ROOT / "tests/support/services.bash"


def installed() -> str:
    """The browser's path, after it was installed where it was missing."""
    words = f'. "{SERVICES}"; need chromium=chromium'
    subprocess.run(["bash", "-euc", words], check=True)
    found = shutil.which("chromium")
    assert found, "no chromium"
    return found


class Tab:
    """One page. console: its errors and warnings; asked: the URLs it has asked for."""

    def __init__(self, address: str, width: int, dark: bool) -> None:
        self._line = websocket.create_connection(address, suppress_origin=True)
        self._line.settimeout(30)
        self._number = 0
        self.console: list[str] = []
        self.asked: list[str] = []
        for domain in "Page", "Runtime", "Network", "Log":
            self(f"{domain}.enable")
        # Each tab is as if in front; hide() says otherwise.
        self("Emulation.setFocusEmulationEnabled", enabled=True)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])

    def __call__(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._line.send(json.dumps(message))
        while True:
            answer = json.loads(self._line.recv())
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer.get("method"), answer.get("params", {}))

    def _note(self, event: str, about: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.asked.append(about["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.console.append(json.dumps(about["exceptionDetails"])[:500])
        elif event == "Runtime.consoleAPICalled" and about["type"] != "log":
            self.console.append(json.dumps(about["args"])[:500])
        elif event == "Log.entryAdded" and about["entry"]["level"] != "verbose":
            self.console.append(json.dumps(about["entry"])[:500])

    def sign_in(self, token: str) -> None:
        """As a browser does that was given name and password."""
        word = base64.b64encode(f"me:{token}".encode()).decode()
        headers = {"Authorization": f"Basic {word}"}
        self("Network.setExtraHTTPHeaders", headers=headers)

    def open(self, url: str) -> None:
        self("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of an expression."""
        answer = self("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    @property
    def text(self) -> str:
        return str(self.run("document.body ? document.body.textContent : ''"))

    def shows(self, words: str) -> None:
        wait_for(lambda: words in self.text, 30, f"{words!r} in {self.text!r}")

    def hide(self, hidden: bool) -> None:
        """As if another tab were in front of it."""
        state = "hidden" if hidden else "visible"
        for name, value in (
            ("hidden", json.dumps(hidden)),
            ("visibilityState", f"'{state}'"),
        ):
            self.run(
                f"Object.defineProperty(document, '{name}', "
                f"{{configurable: true, get: () => {value}}})"
            )
        self.run("document.dispatchEvent(new Event('visibilitychange'))")

    def picture(self, name: str) -> None:
        """Kept in .screenshots, which git ignores."""
        folder = ROOT / ".screenshots"
        folder.mkdir(exist_ok=True)
        content = self("Page.captureScreenshot", captureBeyondViewport=False)["data"]
        (folder / f"{name}.png").write_bytes(base64.b64decode(content))

    def close(self) -> None:
        self._line.close()


class Browser:
    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"
        self._tabs: list[Tab] = []

    def tab(self, width: int = 1280, dark: bool = False) -> Tab:
        import requests

        about = requests.put(f"{self._address}/json/new?about:blank", timeout=30).json()
        self._tabs.append(Tab(about["webSocketDebuggerUrl"], width, dark))
        return self._tabs[-1]

    def close(self) -> None:
        for tab in self._tabs:
            tab.close()


@contextmanager
def browser(*arguments: str) -> Iterator[Browser]:
    """One of its own; ended with all its processes."""
    folder = Path(tempfile.mkdtemp())
    command = [installed(), "--headless=new", "--no-sandbox", "--disable-gpu"]
    command += ["--remote-debugging-port=0", f"--user-data-dir={folder}"]
    command += [
        "--no-first-run",
        "--disable-background-networking",
        "--no-proxy-server",
    ]
    command += ["--disable-dev-shm-usage", "--hide-scrollbars", *arguments]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True
        )
    try:
        said = folder / "log"
        found = wait_for(lambda: re.findall(r"ws://[^:]+:(\d+)/", said.read_text()), 60)
        one = Browser(int(found[0]))
        yield one
        one.close()
    finally:
        os.killpg(process.pid, 9)
        process.wait()
        time.sleep(0.1)
        shutil.rmtree(folder, ignore_errors=True)
