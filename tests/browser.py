"""Pages as headless Chromium shows them, by its DevTools protocol over a pipe: what they say, and pictures of them."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
#: axe-core's file, from the package of the npm registry: make accessibility installs it there.
AXE = Path(os.environ.get("BITLEARN_AXE", Path(__file__).parents[1] / "build/axe/node_modules/axe-core/axe.min.js"))
_SWITCHES = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--allow-file-access-from-files", "--remote-debugging-pipe"),
)


def needed(*, axe: bool = False) -> None:
    """Skip, naming what is missing, where pages cannot be looked at."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    if axe and not AXE.is_file():
        pytest.skip(f"axe-core is not at {AXE}: make accessibility, or BITLEARN_AXE=.../axe.min.js")


class Browser:
    """A process of Chromium with one page; a context manager."""

    def __enter__(self) -> Browser:
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        theirs, self._to = os.pipe()
        self._from, theirs_too = os.pipe()

        def pipes() -> None:  # Chromium reads from 3 and writes to 4
            os.dup2(theirs, 10)
            os.dup2(theirs_too, 4)
            os.dup2(10, 3)

        self._process = subprocess.Popen(
            [str(CHROMIUM), *_SWITCHES, f"--user-data-dir={self._profile.name}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=pipes,
        )
        os.close(theirs)
        os.close(theirs_too)
        self._number, self._rest, self._session = 0, b"", None
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self("Page.enable")
        self("Runtime.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        self._profile.cleanup()

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._from, 1 << 16)
            if not part:
                raise RuntimeError(f"Chromium ended with {self._process.poll()}")
            self._rest += part
        one, self._rest = self._rest.split(b"\0", 1)
        return json.loads(one)

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol, and return its answer."""
        self._number += 1
        sent = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            sent["sessionId"] = self._session
        os.write(self._to, json.dumps(sent).encode() + b"\0")
        while (found := self._message()).get("id") != self._number:
            pass
        if "error" in found:
            raise RuntimeError(f"{method}: {found['error']['message']}")
        return found["result"]

    def open(self, page: Path | str, *, width: int = 1200, dark: bool = False) -> None:
        """Show a page, and wait until it is loaded."""
        url = page if isinstance(page, str) else page.resolve().as_uri()
        self("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self("Emulation.setEmulatedMedia", features=features)
        self("Page.navigate", url=url)
        self.evaluate(
            "new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))"
        )

    def evaluate(self, code: str) -> Any:
        """Return the value of an expression of the page, of a promise once it is kept."""
        found = self("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"].get("exception", found["exceptionDetails"])))
        return found["result"].get("value")

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Write what is shown as a PNG file."""
        found = self("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than what is shown of it."""
        return self.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def findings(self) -> list[str]:
        """Return what axe-core finds wrong that is serious or critical, a line each."""
        self.evaluate(f"{AXE.read_text(encoding='utf-8')}; 0")
        found = self.evaluate(
            "axe.run().then(found => found.violations.filter(each => ['serious', 'critical'].includes(each.impact))"
            ".map(each => `${each.impact}: ${each.id}: ${each.help}: `"
            " + each.nodes.slice(0, 3).map(node => node.html.slice(0, 160)).join(' | ')))"
        )
        return list(found)
