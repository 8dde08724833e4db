"""Steps shared by end-to-end tests."""

from bot.demo.omni.organization import MODEL
from bot.rendering.ask_replies import COMMAND
from tests.end_to_end.world import World

QUESTION = "Which product sells best?"


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
