"""`python -m bot demo`: the simulated Omni and Slack, the real bot between them, the page, the terminal."""

import asyncio
import contextlib
import os
import signal
import sys
import webbrowser
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

from bot.demo.bot_process import BotProcess
from bot.demo.omni.organization import MODEL
from bot.demo.omni.server import SimulatedOmni
from bot.demo.page import Page
from bot.demo.program import Program
from bot.demo.samples import furnish, sample
from bot.demo.scene import Scene
from bot.demo.slack.simulator import SimulatedSlack
from bot.demo.terminal import Story
from bot.demo.visitor import FEEDBACK, LINK_ONLY

_ROOT = Path(__file__).resolve().parents[2]
_BOT = (sys.executable, "-m", "bot")
_PROCESSING_SECONDS = 1.0
"""How long Slack processes a picture before a card can show it."""
_GRACE_SECONDS = 8.0
"""How long the bot may take to end before it is killed."""
_OURS = (
    "SLACK_",
    "OMNI_",
    "DATABASE_",
    "NOTIFY_",
    "FEEDBACK",
    "ACCESS",
    "ADMIN_",
    "ALLOW",
    "ANSWERS",
    "LINK_ONLY_",
    "ASK_AS",
    "CHART_",
    "MAX_",
    "RETENTION_",
    "HOST",
    "PORT",
    "PUBLIC_",
    "METRICS_",
    "API_",
    "ENCRYPTION_",
    "LOG_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "SSL_CERT_",
)


@dataclass(frozen=True, slots=True)
class Stage:
    """A demo that runs."""

    scene: Scene
    page: Page
    second_model: str
    """Id of the second of Omni's models."""


@asynccontextmanager
async def raised(
    *, port: int = 8000, command: Sequence[str] = _BOT, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Stage]:
    """Start everything, and stop it at the end, the bot first.

    Args:
        port: for the page; the next free one is taken. 0: any.
        command: what to run as the bot.
        environment: added to the bot's own.

    Raises:
        OSError: no port is free.
    """
    with TemporaryDirectory(prefix="omni-job-bot-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with SimulatedOmni() as omni, SimulatedSlack() as slack:
            support = furnish(omni)
            slack.workspace.files.processing_seconds = _PROCESSING_SECONDS
            program = Program()
            own = _environment(omni, slack, folder) | dict(program.environment)
            # It runs in the temporary folder, so that it doesn't read the user's .env.
            bot = BotProcess(command, own | dict(environment or {}), folder)
            scene = Scene(omni, slack, bot, program)
            try:
                async with Page(scene, port) as page:
                    yield Stage(scene, page, support)
            finally:
                await scene.close()
                await scene.bot.stop(grace_seconds=_GRACE_SECONDS)


async def perform(
    *,
    port: int = 8000,
    open_browser: bool = True,
    opening: bool = True,
    command: Sequence[str] = _BOT,
    stream: TextIO | None = None,
) -> int:
    """Run the demo until SIGINT, SIGTERM or SIGHUP, which a closed terminal sends.

    Returns the exit code: 0, or 1 where no port is free.
    """
    stop = _stop_at_signals()
    stream = stream or sys.stdout
    try:
        async with raised(port=port, command=command) as stage:
            story = _story(stage.scene, stream)
            story.say(f"Omni job bot demo: {stage.page.url}   (Ctrl-C ends it)", "bold")
            story.say("Simulated Slack, simulated Omni, real bot. Nothing leaves this machine.", "dim")
            story.say(f"To announce a job as CI would:\n{_curl(stage.scene)}", "dim")
            await _until(stop, _play(stage, story, open_browser=open_browser, opening=opening))
            story.say("The demo ends.", "dim")
    except BrokenPipeError:
        return 0  # The reader of the output has gone.
    except OSError as problem:
        print(f"The demo can't start: {problem.strerror or problem}", file=sys.stderr)
        return 1
    return 0


async def _play(stage: Stage, story: Story, *, open_browser: bool, opening: bool) -> None:
    scene = stage.scene
    with scene.events() as events:
        if open_browser:
            scene.in_background(asyncio.to_thread(_open, stage.page.url))
        scene.in_background(_opening(stage) if opening else scene.start_bot())
        while True:
            story.tell(await events.get())


async def _opening(stage: Stage) -> None:
    """Ada asks for a quick job, so that there is something to see without touching anything. #sales gets a model of its
    own, as an operator would give it one."""
    scene = stage.scene
    await scene.start_bot()
    if scene.bot.state == "running":
        workspace = scene.slack.workspace
        await scene.try_sample("quick", workspace.user("ada").id, workspace.channel("data-team").id)
        sales = workspace.channel("sales").id
        await scene.bot.run_beside(
            "channel", "set", sales, "--model", stage.second_model, "--topic", "tickets"
        )


def _curl(scene: Scene) -> str:
    """The command that announces a job which runs until it is cancelled."""
    workspace = scene.slack.workspace
    mention = workspace.user("ada").email or ""
    job = sample("endless").start(scene.omni)
    return scene.program.curl(job, workspace.channel("data-team").id, [mention])


def _story(scene: Scene, stream: TextIO) -> Story:
    channels = scene.slack.workspace.channels
    return Story(stream, scene.name, lambda some_id: channels[some_id].kind == "direct", os.environ)


def _environment(omni: SimulatedOmni, slack: SimulatedSlack, folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(_OURS)}
    return kept | {
        "SLACK_BOT_TOKEN": slack.bot_token,
        "SLACK_APP_TOKEN": slack.app_token,
        "SLACK_API_URL": slack.api_url,
        "OMNI_BASE_URL": omni.base_url,
        "OMNI_API_TOKEN": omni.api_key,
        "OMNI_MODEL_ID": MODEL,
        "OMNI_REQUESTS_PER_MINUTE": str(omni.requests_per_minute),
        "DATABASE_URL": f"sqlite+aiosqlite:///{(folder / 'demo.db').as_posix()}",
        "NOTIFY_AFTER_SECONDS": "30",
        "LINK_ONLY_CHANNELS": slack.workspace.channel(LINK_ONLY).id,
        "FEEDBACK_CHANNEL": slack.workspace.channel(FEEDBACK).id,
        "ADMIN_USERS": slack.workspace.user("grace").id,
        # One visitor tries all samples.
        "MAX_LOOKUPS_PER_MINUTE": "60",
        "LOG_LEVEL": os.environ.get("LOG_LEVEL", "INFO"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",
    }


def _open(url: str) -> None:
    has_display = sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    # Without a display webbrowser may start a text browser, which would take over the terminal.
    if has_display:
        with contextlib.suppress(webbrowser.Error, OSError):
            webbrowser.open(url)


def _stop_at_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C cancels the task instead.
            loop.add_signal_handler(number, stop.set)
    return stop


async def _until(stop: asyncio.Event, play: Coroutine[Any, Any, None]) -> None:
    playing = asyncio.create_task(play)
    waiting = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((playing, waiting), return_when=asyncio.FIRST_COMPLETED)
        if playing.done():
            playing.result()
    finally:
        waiting.cancel()
        playing.cancel()
        await asyncio.gather(playing, waiting, return_exceptions=True)
