"""A headless Chromium, driven over its DevTools protocol (chromedevtools.github.io/devtools-protocol)."""

import asyncio
import base64
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
START_SECONDS = 30.0
KEYS = {"Enter": 13, "Tab": 9, "Escape": 27, "ArrowDown": 40, "ArrowUp": 38}


class Tab:
    """One page. Errors of the page are kept in `complaints`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.complaints: list[str] = []
        self._socket = socket
        self._calls: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reader = asyncio.create_task(self._read())

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol. Raises RuntimeError with what the browser says against it."""
        number = len(self._calls) + 1
        self._calls[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_str(json.dumps({"id": number, "method": method, "params": params}))
        answer = await asyncio.wait_for(self._calls[number], 20)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def open(self, url: str) -> None:
        """Go to an address, and wait until it is read."""
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=url)
        await self.until(f"location.href.startsWith({json.dumps(url)}) && document.readyState == 'complete'")

    async def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the window's size and the reader's preference of colours."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def get(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    async def until(self, expression: str, *, seconds: float = 15) -> Any:
        """Wait until an expression is true, and return its value.

        Raises:
            TimeoutError: it never was; the message has the page's text.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        while not (value := await self.get(expression)):
            if asyncio.get_running_loop().time() > deadline:
                shown = await self.get("document.body.innerText")
                raise TimeoutError(f"not so after {seconds} s: {expression}\nThe page shows:\n{shown}")
            await asyncio.sleep(0.05)
        return value

    async def click(self, selector: str) -> None:
        """Press an element, where it is, as a person does."""
        found = f"document.querySelector({json.dumps(selector)})"
        await self.until(f"!!{found} && !{found}.disabled")
        box = await self.get(
            f"(() => {{ const e = {found}; e.scrollIntoView({{block: 'center'}});"
            "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.call(
                "Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1
            )

    async def type(self, text: str) -> None:
        """Type into what has the focus."""
        await self.call("Input.insertText", text=text)

    async def press(self, key: str) -> None:
        """Press one of the named keys."""
        fields = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        await self.call("Input.dispatchKeyEvent", type="keyDown", **fields, **text)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **fields)

    async def picture(self, path: Path, *, selector: str = "body", margin: int = 0, scale: float = 1) -> None:
        """A PNG of the area of every element found, with a margin, `scale` times its size."""
        left, top, right, bottom = await self.get(
            f"(() => {{ const all = [...document.querySelectorAll({json.dumps(selector)})]"
            ".map((each) => each.getBoundingClientRect());"
            "return [Math.min(...all.map((b) => b.left)), Math.min(...all.map((b) => b.top)),"
            "Math.max(...all.map((b) => b.right)), Math.max(...all.map((b) => b.bottom))]; })()"
        )
        # The browser forgets a clip that begins outside the window.
        left, top = max(0, left - margin), max(0, top - margin)
        clip = {
            "x": left,
            "y": top,
            "width": right + margin - left,
            "height": bottom + margin - top,
            "scale": scale,
        }
        shot = await self.call("Page.captureScreenshot", format="png", clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    async def close(self) -> None:
        """Stop listening to the page."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        async for message in self._socket:
            answer = json.loads(message.data)
            if "id" in answer:
                self._calls[answer["id"]].set_result(answer)
            elif answer["method"] == "Runtime.exceptionThrown":
                self.complaints.append(str(answer["params"]["exceptionDetails"]))
            elif answer["method"] == "Log.entryAdded" and answer["params"]["entry"]["level"] == "error":
                self.complaints.append(str(answer["params"]["entry"]))


@asynccontextmanager
async def chromium() -> AsyncIterator[Tab]:
    """A browser with one empty tab, gone at the end.

    Raises:
        FileNotFoundError: no Chromium is installed; `CHROMIUM` may name one.
        TimeoutError: it did not start.
    """
    binary = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if binary is None:
        raise FileNotFoundError("no Chromium found; on Debian: apt-get install chromium")
    with TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            binary,
            *FLAGS,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            port = await _port(Path(profile) / "DevToolsActivePort")
            async with aiohttp.ClientSession() as session:
                target = await _tab(session, port)
                async with session.ws_connect(target, max_msg_size=0) as socket:
                    tab = Tab(socket)
                    try:
                        yield tab
                    finally:
                        await tab.close()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 10)
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _port(file: Path) -> int:
    async with asyncio.timeout(START_SECONDS):
        while not (file.exists() and file.read_text().strip()):
            await asyncio.sleep(0.05)
    return int(file.read_text().split()[0])


async def _tab(session: aiohttp.ClientSession, port: int) -> str:
    async with asyncio.timeout(START_SECONDS):
        while True:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                for target in await answer.json(content_type=None):
                    if target["type"] == "page":
                        return str(target["webSocketDebuggerUrl"])
            await asyncio.sleep(0.05)
