"""A naive bot to compare with: one loop per command that polls and edits.

This is how the peers work: a loop of a fixed pace in the listener's task, an edit whenever something else is to be
seen, and an error message when something fails.
"""

import asyncio
from typing import Any

import httpx
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

FINAL = {"COMPLETE": "Answered", "FAILED": "The job failed", "CANCELLED": "The job was cancelled"}


class NaiveBot:
    """Follows each job in a loop of its own."""

    def __init__(self, slack: AsyncWebClient, omni: httpx.AsyncClient, every_seconds: float) -> None:
        self.slack = slack
        self.omni = omni
        self.every_seconds = every_seconds
        self.tasks: set[asyncio.Task[None]] = set()

    def register(self, app: AsyncApp) -> None:
        """Take the command."""
        app.command("/omni-job")(self.on_command)

    async def on_command(self, ack: AsyncAck, command: dict[str, Any]) -> None:
        """Follow the job from now on."""
        await ack()
        task = asyncio.create_task(self.follow(command["text"].strip("`<>").lower(), command["channel_id"]))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def follow(self, job: str, channel: str) -> None:
        """Ask and edit until the job has ended or something fails."""
        try:
            shown = f"Looking up job `{job}`"
            card = (await self.slack.chat_postMessage(channel=channel, text=shown))["ts"]
            while True:
                answer = (await self.omni.get(f"/api/v1/ai/jobs/{job}")).raise_for_status().json()
                state, progress = answer["state"], answer.get("progress") or {}
                look = f"{FINAL.get(state, state)} {progress.get('message', '')} job `{job}`"
                if look != shown:
                    await self.slack.chat_update(
                        channel=channel, ts=card, text=f"{look} {answer.get('resultSummary')}"
                    )
                    shown = look
                if state in FINAL:
                    return
                await asyncio.sleep(self.every_seconds)
        except Exception as error:  # noqa: BLE001 - as those that are compared do
            await self.slack.chat_postMessage(channel=channel, text=f"Something went wrong: {error}")
