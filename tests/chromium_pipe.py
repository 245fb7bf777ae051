"""A headless Chromium that is spoken to over a pipe: pages that change after they are loaded."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
OPENS = 'exec "$0" "$@" 3<&"$ASKED" 4>&"$ANSWERED"'  # the browser reads from 3 and writes to 4


class Tab:
    """One page. Messages are JSON, each ended by a zero byte (Chrome DevTools Protocol)."""

    def __init__(self, asks: int, answers: int) -> None:
        self.asks, self.answers, self.held, self.count = asks, answers, b"", 0
        self.session: dict[str, str] = {}
        self.complaints: list[dict[str, Any]] = []
        pages = [t for t in self("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        attached = self("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)
        self.session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        self.count += 1
        asked = {"id": self.count, "method": method, "params": params, **self.session}
        os.write(self.asks, json.dumps(asked).encode() + b"\0")
        while (found := self._next()).get("id") != self.count:
            pass
        assert "error" not in found, found
        return dict(found["result"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.held:
            more = os.read(self.answers, 1 << 16)
            assert more, "the browser has ended"
            self.held += more
        text, _, self.held = self.held.partition(b"\0")
        found = json.loads(text)
        if found.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
            self.complaints.append(found["params"])
        return dict(found)

    def visit(self, url: str, width: int, height: int) -> None:
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self("Page.navigate", url=url)
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def run(self, code: str) -> Any:
        """The value of an expression; of a promise what it comes to."""
        found = self("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def picture(self, path: Path) -> None:
        """The whole page, however long."""
        path.write_bytes(base64.b64decode(self("Page.captureScreenshot", captureBeyondViewport=True)["data"]))


@contextmanager
def tab(profile: Path, dark: bool = False) -> Iterator[Tab]:
    """A browser of its own, ended afterwards."""
    (ask_in, asks), (answers, answer_out) = os.pipe(), os.pipe()
    scheme = f"--blink-settings=preferredColorScheme={int(not dark)}"
    command = ["bash", "-c", OPENS, str(CHROMIUM), *OPTIONS, f"--user-data-dir={profile}", scheme, "about:blank"]
    environment = os.environ | {"LC_ALL": "C.UTF-8", "ASKED": str(ask_in), "ANSWERED": str(answer_out)}
    browser = subprocess.Popen(
        command, pass_fds=(ask_in, answer_out), stderr=subprocess.DEVNULL, env=environment, start_new_session=True
    )
    os.close(ask_in)
    os.close(answer_out)
    try:
        yield Tab(asks, answers)
    finally:
        os.close(asks)  # it ends with its pipe
        try:
            browser.wait(10)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait()
        os.close(answers)
