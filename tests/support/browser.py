"""Chromium as a process of a test, and tabs of it, by the Chrome DevTools Protocol."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio
import trio_websocket
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.running import until

__all__ = ["LIBRARIES", "Browser", "Chromium", "Tab", "Web", "chromium", "needs_browser", "pages"]

SOURCES = Path(__file__).parent.parent / "browser"
PACKAGES = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgesbc" / "browser"
"""The npm packages, where ``tests/interop/install-peers`` installs them."""
LIBRARIES = ("jssip", "sipjs")
PATIENCE = 30.0
"""Seconds to wait for a result; shorter than the time after which pytest ends a test without saying where it was."""


def needs_browser() -> pytest.MarkDecorator:
    """Skip tests where Chromium or the npm packages of the lock file are not installed. Not in CI, which installs
    both."""
    installed = PACKAGES / "installed-lock.json"
    is_whole = (
        shutil.which("chromium") is not None
        and installed.exists()
        and installed.read_bytes() == (SOURCES / "package-lock.json").read_bytes()
    )
    reason = "chromium or its npm packages are not installed (as root, `make peers` installs them)"
    return pytest.mark.skipif(not is_whole and "CI" not in os.environ, reason=reason)


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def pages(folder: Path) -> Iterator[int]:
    """A web server with a page for each library, ``/jssip.html`` and ``/sipjs.html``. Yields its port at 127.0.0.1."""
    command = [str(PACKAGES / "node_modules" / ".bin" / "esbuild"), *(f"{name}.js" for name in LIBRARIES)]
    subprocess.run(
        [*command, "--bundle", f"--outdir={folder}", "--log-level=warning"],
        cwd=SOURCES, env={**os.environ, "NODE_PATH": str(PACKAGES / "node_modules")}, check=True,
    )  # fmt: skip
    for name in LIBRARIES:
        (folder / f"{name}.html").write_text(f'<!DOCTYPE html><title>{name}</title><script src="{name}.js"></script>')
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Silent, directory=str(folder)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Chromium:
    """A running Chromium whose files are in ``folder``."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._folder = folder
        self._endpoint = folder / "DevToolsActivePort"

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, (self._folder / "chromium.log").read_text(errors="replace")
        return self._endpoint.exists() and self._endpoint.read_text().count("\n") == 1

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Browser]:
        """A browser context: it shares no cookies and caches with others. Its tabs are closed at the end."""
        await until(self._is_ready)
        port, path = self._endpoint.read_text().split("\n")
        async with (
            trio_websocket.open_websocket_url(f"ws://127.0.0.1:{port}{path}", max_message_size=1 << 24) as socket,
            trio.open_nursery() as nursery,
        ):
            browser = Browser(socket)
            nursery.start_soon(browser.receive)
            context = {"browserContextId": (await browser.ask("Target.createBrowserContext"))["browserContextId"]}
            browser.context = context
            yield browser
            await browser.ask("Target.disposeBrowserContext", context)
            nursery.cancel_scope.cancel()


@contextmanager
def chromium(folder: Path, certificate: Path) -> Iterator[Chromium]:
    """Run Chromium, which trusts servers with the key of ``certificate``; stopped by its own process id."""
    command = [
        *("chromium", "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
        *("--disable-background-networking", "--disable-component-update", "--disable-default-apps"),
        *("--disable-dev-shm-usage", "--no-proxy-server", "--remote-debugging-port=0", f"--user-data-dir={folder}"),
        *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
        # Tabs on 127.0.0.1 have media with each other there.
        *("--allow-loopback-in-peer-connection", "--disable-features=WebRtcHideLocalIpsWithMdns"),
        f"--ignore-certificate-errors-spki-list={_key_hash(certificate)}",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        "about:blank",
    ]
    home = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
    # For its sockets, whose paths must be short. It leaves them there.
    sockets = tempfile.mkdtemp(prefix="chromium-")
    home |= {"TMPDIR": sockets, "XDG_RUNTIME_DIR": sockets}
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=home, cwd=folder
        )
    try:
        yield Chromium(folder, process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(sockets, ignore_errors=True)


def _key_hash(certificate: Path) -> str:
    """SHA-256 of the first certificate's key in base64, as Chromium expects it."""
    key = x509.load_pem_x509_certificates(certificate.read_bytes())[0].public_key()
    info = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(info).digest()).decode()


class Web(NamedTuple):
    """Chromium, and the port of the web server with the pages."""

    chromium: Chromium
    port: int

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class _Command:
    """A command that waits for its result."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.answer: dict[str, Any] = {}


class Browser:
    """A connection to Chromium's DevTools."""

    def __init__(self, socket: trio_websocket.WebSocketConnection) -> None:
        self.context: dict[str, str] = {}
        self._socket = socket
        self._commands: list[_Command] = []
        self.console: list[str] = []
        """What the pages have written there, and their uncaught exceptions."""

    async def receive(self) -> None:
        """Receive the results of commands, and the consoles of pages, until cancelled."""
        while True:
            message = json.loads(await self._socket.get_message())
            if "id" in message:
                command = self._commands[message["id"]]
                command.answer = message
                command.done.set()
            elif message["method"] == "Runtime.consoleAPICalled":
                self.console += [str(value.get("value")) for value in message["params"]["args"]]
            elif message["method"] == "Runtime.exceptionThrown":
                self.console.append(json.dumps(message["params"]["exceptionDetails"]))

    async def ask(self, method: str, parameters: dict[str, Any] | None = None, session: str = "") -> dict[str, Any]:
        """The result of a command, for the browser or, with ``session``, for a tab."""
        command = _Command()
        message = {"id": len(self._commands), "method": method, "params": parameters or {}}
        self._commands.append(command)
        await self._socket.send_message(json.dumps(message | ({"sessionId": session} if session else {})))
        with trio.move_on_after(PATIENCE):
            await command.done.wait()
        assert command.answer, "\n".join(["no result of", str(message), "in the consoles:", *self.console])
        assert "error" not in command.answer, f"{method}: {command.answer['error']}"
        result: dict[str, Any] = command.answer["result"]
        return result

    async def tab(self, url: str) -> Tab:
        """A tab that has loaded ``url``."""
        target = (await self.ask("Target.createTarget", {"url": "about:blank", **self.context}))["targetId"]
        session = (await self.ask("Target.attachToTarget", {"targetId": target, "flatten": True}))["sessionId"]
        await self.ask("Runtime.enable", session=session)
        tab = Tab(self, target, session)
        await tab.load(url)
        return tab


_LOADED = "new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', () => done()))"


class Tab:
    """A tab, whose page has a ``phone`` (``tests/browser/jssip.js`` and ``sipjs.js``)."""

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self._browser = browser
        self._target = target
        self._session = session

    async def load(self, url: str) -> None:
        await self._browser.ask("Page.navigate", {"url": url}, self._session)
        await self.run(_LOADED)

    async def reload(self) -> None:
        await self.run("void (window.isOld = true)")
        await self._browser.ask("Page.reload", session=self._session)

        async def is_new() -> bool:
            return bool(await self.run("!window.isOld"))

        await until(is_new)
        await self.run(_LOADED)

    async def run(self, expression: str) -> Any:
        """The value of an expression of JavaScript; of a promise, that with which it is resolved."""
        parameters = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = await self._browser.ask("Runtime.evaluate", parameters, self._session)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def do(self, command: str, *arguments: object) -> None:
        """Carry out a command of the phone, without waiting for what it begins."""
        await self.run(f"void phone.{command}({', '.join(map(json.dumps, arguments))})")

    async def next(self, event: str) -> Any:
        """The detail of the next event of that name."""
        return await self.run(f"phone.next({json.dumps(event)})")

    async def close(self) -> None:
        await self._browser.ask("Target.closeTarget", {"targetId": self._target})
