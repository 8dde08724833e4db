"""Steps shared by end-to-end tests."""

import json
from typing import Any

from aiohttp import web

from bot.demo.faults import Serve
from bot.demo.omni.organization import MODEL
from bot.demo.omni.timeline import Complete, Script
from bot.demo.slack.workspace import StoredMessage
from bot.rendering.ask_replies import COMMAND
from tests.end_to_end.world import World

QUESTION = "Which product sells best?"
ANSWERED = Script(0.0, (), 0.0, Complete("Bikes sell best."))


async def ask(world: World, text: str, *, user: str | None = None, channel: str | None = None) -> None:
    """Somebody types `/omni-ask …`."""
    acked = await world.slack.command(
        text, user=user or world.ada, channel=channel or world.channel, command=COMMAND
    )
    assert acked.acked


def told(port: int) -> dict[str, object]:
    """Settings of a bot that receives Omni's webhooks."""
    return {"omni_model_id": MODEL, "port": port, "public_url": f"http://127.0.0.1:{port}"}


def requests(world: World) -> list[str]:
    """Requests about jobs, except those for charts."""
    about_jobs = [each for each in world.omni.requests if each.path.startswith("/api/v1/ai/jobs")]
    return [each.method for each in about_jobs if not each.path.endswith("/vis")]


class Refusing:
    """A Slack that refuses variants richer than a given one."""

    def __init__(self, code: str, *signs: str) -> None:
        self.code = code
        self.signs = signs
        """Text that appears only in refused variants."""
        self.refused = 0

    async def __call__(self, request: web.Request, serve: Serve) -> web.StreamResponse:
        sent: dict[str, Any] = await request.json()
        content = json.dumps([sent.get("text"), sent.get("blocks")])
        if not any(sign in content for sign in self.signs):
            return await serve()
        self.refused += 1
        return web.json_response({"ok": False, "error": self.code})


async def answer_in_dm(world: World, script: Script = ANSWERED, **job: Any) -> StoredMessage:
    """Follow an answered job in Ada's direct messages."""
    await world.type(f"{world.omni.add(script, **job)} private")
    return await world.card("Bikes sell best", channel=world.slack.dm(world.ada))


async def pick_channel(world: World, card: StoredMessage, channel: str, user: str | None = None) -> None:
    """Choose *Share to channel…* and submit the modal."""
    person = user or world.ada
    await world.slack.click(user=person, channel=card.channel, ts=card.ts, action_id="share_answer")
    await world.slack.until(lambda: world.slack.modal(person) is not None)
    to = world.slack.workspace.channel(channel).id
    assert (await world.slack.submit_view({"channel": to}, user=person)).closed
