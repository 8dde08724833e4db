"""Keeps a Socket Mode connection to Slack, and replaces it when the SDK's own reconnection is stuck."""

import asyncio
from typing import cast

import aiohttp
import structlog
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from bot.slack.dispatch import QUIET, Dispatcher
from bot.tasks import backoff_seconds

log = structlog.get_logger()

PING_SECONDS = 5
"""The SDK treats a connection as dead after four unanswered pings."""
CHECK_SECONDS = 5.0
STUCK_AFTER_SECONDS = 60.0
"""The SDK retries with the same address, whose ticket may have expired. After this the bot requests a new one."""
CLOSE_WITHIN_SECONDS = 1.5
LONGEST_BACK_OFF_SECONDS = 30.0


class SocketMode:
    """The `EventSource` of Socket Mode."""

    def __init__(self, dispatch: Dispatcher, app_token: str, client: AsyncWebClient) -> None:
        # Bolt's handler uses only `async_dispatch` of an app.
        self._app = cast(AsyncApp, dispatch)
        self._app_token = app_token
        self._client = client
        self._handler: AsyncSocketModeHandler | None = None

    async def is_connected(self) -> bool:
        """See `EventSource.is_connected`."""
        return self._handler is not None and await self._handler.client.is_connected()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        try:
            while True:
                await self._connect()
                await self._until_stuck()
                log.warning("socket replaced")
                await self._disconnect()
        finally:
            await self._disconnect()

    async def _connect(self) -> None:
        failures = 0
        while True:
            self._handler = AsyncSocketModeHandler(
                self._app,
                self._app_token,
                logger=QUIET,
                web_client=self._client,
                ping_interval=PING_SECONDS,
            )
            try:
                # The SDK keeps retrying the same address, even after its ticket has expired.
                async with asyncio.timeout(STUCK_AFTER_SECONDS):
                    await self._handler.connect_async()  # type: ignore[no-untyped-call]
            except Exception as error:  # noqa: BLE001 - for any error, the only remedy is to retry
                await self._disconnect()
                seconds = backoff_seconds(failures, longest=LONGEST_BACK_OFF_SECONDS)
                failures += 1
                log.warning("socket not connected", error=type(error).__name__, again_in_seconds=seconds)
                await asyncio.sleep(seconds)
            else:
                log.info("socket connected")
                return

    async def _until_stuck(self) -> None:
        silent_seconds = 0.0
        while silent_seconds < STUCK_AFTER_SECONDS:
            await asyncio.sleep(CHECK_SECONDS)
            silent_seconds = 0.0 if await self.is_connected() else silent_seconds + CHECK_SECONDS

    async def _disconnect(self) -> None:
        handler, self._handler = self._handler, None
        if handler is None:
            return
        try:
            async with asyncio.timeout(CLOSE_WITHIN_SECONDS):
                await handler.close_async()  # type: ignore[no-untyped-call]
        except (TimeoutError, SlackClientError, aiohttp.ClientError, OSError) as error:
            log.warning("socket not closed", error=type(error).__name__)
