"""The demo's scene: the simulated Omni and Slack, the real bot between them, and the visitor's actions.

The page and the terminal both look at a scene; neither knows of the other.
"""

import asyncio
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from bot.demo.bot_process import BotProcess
from bot.demo.faults import HTML_500, Fault
from bot.demo.omni.server import SimulatedOmni
from bot.demo.page_views import messages as messages_module
from bot.demo.program import NotAnnounced, Program
from bot.demo.samples import SAMPLES, sample
from bot.demo.slack.simulator import SimulatedSlack, too_many_requests
from bot.demo.slack.workspace import Change, Channel
from bot.demo.visitor import (
    ASK,
    CHANNELS,
    COMMAND,
    FEEDBACK,
    LINK_ONLY,
    OFFERS,
    PEOPLE,
    SHORTCUTS,
    SILENT,
    Refused,
    Visit,
)

__all__ = ["COMMAND", "Refused", "Scene"]

Event = dict[str, Any]

UPDATES_PER_MINUTE = 50
"""Source: docs.slack.dev/reference/methods/chat.update, tier 3."""

_EVENTS_HELD = 1_000

_OMNI_FAULTS: dict[str, Fault] = {
    "busy": Fault("status", 429, '{"detail": "Too Many Requests", "status": 429}'),
    "down": HTML_500,
    "slow": Fault("delay", delay_seconds=4.0),
}
_SLACK_BUSY = too_many_requests(retry_after_seconds=3)


class Scene:
    """The world of the demo while it runs."""

    def __init__(self, omni: SimulatedOmni, slack: SimulatedSlack, bot: BotProcess, program: Program) -> None:
        self.omni = omni
        self.slack = slack
        self.bot = bot
        self.program = program
        self.visit = Visit(slack, self.name)
        self.omni_trouble = "none"
        self.slack_trouble = "none"
        self.started: list[Event] = []
        """The sample jobs started so far, newest last: id and title."""
        self._listeners: set[asyncio.Queue[Event]] = set()
        self._background: set[asyncio.Task[Any]] = set()
        for name in PEOPLE:
            slack.workspace.direct(slack.workspace.user(name).id)
        slack.workspace.listeners.append(self._on_change)
        bot.on_change = self._on_bot

    # Looking.

    @contextmanager
    def events(self) -> Iterator[asyncio.Queue[Event]]:
        """Everything that happens from now on, for as long as the context is open."""
        queue: asyncio.Queue[Event] = asyncio.Queue(_EVENTS_HELD)
        self._listeners.add(queue)
        try:
            yield queue
        finally:
            self._listeners.discard(queue)

    def name(self, some_id: str) -> str:
        """Display name of a user or a channel."""
        workspace = self.slack.workspace
        if some_id in workspace.users:
            return workspace.users[some_id].real_name
        return workspace.channels[some_id].name if some_id in workspace.channels else some_id

    def snapshot(self) -> Event:
        """Snapshot of everything that the page shows."""
        workspace = self.slack.workspace
        shown = self._channels()
        messages = [message for channel in shown for message in channel.messages.values()]
        return {
            "kind": "snapshot",
            "offers": list(OFFERS),
            "shortcuts": [asdict(shortcut) for shortcut in SHORTCUTS],
            "workspace_url": workspace.url,
            "bot": workspace.bot.id,
            "people": [self._person(name, note) for name, note in PEOPLE.items()],
            "modals": {user: modal for user in workspace.users if (modal := self.visit.modal(user))},
            "homes": {user: home for user in workspace.users if (home := self.visit.home(user))},
            "channels": [self._channel(channel) for channel in shown],
            "samples": [{"key": s.key, "title": s.title, "hint": s.hint, "group": s.group} for s in SAMPLES],
            "started": self.started[-10:],
            "messages": [self._view(message.as_json()) for message in messages],
            "private": [self._view(message.as_json()) for message in workspace.private],
            "pulse": self.pulse(),
        }

    def pulse(self) -> Event:
        """The live numbers."""
        since = time.time() - 60.0
        updates = sum(1 for r in self.slack.requests if r.method == "chat.update" and r.at > since)
        return {
            "kind": "pulse",
            "omni_requests": self.omni.last_minute(),
            "omni_limit": self.omni.requests_per_minute,
            "omni_429": self.omni.answered_429,
            "updates": updates,
            "updates_limit": UPDATES_PER_MINUTE,
            "omni_trouble": self.omni_trouble,
            "slack_trouble": self.slack_trouble,
            "bot": self.bot.state,
            "pid": self.bot.pid,
            "exit_code": self.bot.exit_code,
            "last_line": self.bot.last_lines[-1] if self.bot.last_lines else "",
        }

    # Actions of a visitor.

    async def type(self, user: str, channel: str, text: str, thread: str = "") -> None:
        """A person types a line into a channel: a command of the bot's, an /invite of the bot, or just words, which may
        go into a thread and mention the bot."""
        place = self._channel_of(user, channel)
        text = text.strip()
        if not text:
            raise Refused("Type something first.")
        command, _, rest = text.partition(" ")
        if text.startswith("/") and thread:
            # Source: docs.slack.dev/interactivity/implementing-slash-commands.
            raise Refused("Slash commands can't be used in threads. Mention @omni-job-bot instead.")
        if command in (COMMAND, ASK):
            await self.slack.command(rest.strip(), user=user, channel=place.id, command=command)
        elif text.split()[0] == "/invite":
            await self._invite(place)
        elif text.startswith("/"):
            raise Refused(f"This workspace knows {COMMAND}, {ASK} and /invite.")
        else:
            await self._say(place, user, text, thread)

    async def _say(self, place: Channel, user: str, text: str, thread: str) -> None:
        try:
            await self.slack.say(text, user=user, channel=place.id, thread=thread or None)
        except LookupError:
            raise Refused("That thread is gone already.") from None

    async def click(self, user: str, channel: str, ts: str, action_id: str) -> None:
        """A person presses a button of the bot's."""
        self._channel_of(user, channel)
        try:
            acked = await self.slack.click(user=user, channel=channel, ts=ts, action_id=action_id)
        except (LookupError, ValueError):
            raise Refused("That button is no longer there.") from None
        if not acked.acked:
            raise Refused(SILENT)

    async def try_sample(self, key: str, user: str, channel: str) -> str:
        """Start a sample job in Omni and let the person ask for it, or a program announce it and mention the person.
        Returns the job's id."""
        try:
            chosen = sample(key)
        except KeyError:
            raise Refused("There is no such sample.") from None
        job_id = chosen.start(self.omni)
        self.started.append({"id": job_id, "title": chosen.title})
        self._tell({"kind": "started", "job": self.started[-1]})
        if chosen.is_announced:
            await self._announce(job_id, self._channel_of(user, channel), user)
        else:
            await self.type(user, channel, f"{COMMAND} {job_id}")
        return job_id

    async def _announce(self, job_id: str, place: Channel, user: str) -> None:
        try:
            await self.program.announce(job_id, place.id, [user])
        except NotAnnounced as error:
            raise Refused(str(error)) from None

    async def delete(self, user: str, channel: str, ts: str) -> None:
        """Take a message away, as an admin may."""
        place = self._channel_of(user, channel)
        if ts not in place.messages:
            raise Refused("That message is gone already.")
        await self.slack.delete_message(channel, ts)

    async def trouble_omni(self, trouble: str) -> None:
        """Let Omni answer 429, be down, be slow, or be well again."""
        if trouble != "none" and trouble not in _OMNI_FAULTS:
            raise Refused("There is no such trouble.")
        self.omni.faults.lift()
        if trouble != "none":
            self.omni.faults.plan(_OMNI_FAULTS[trouble], times=None)
        self.omni_trouble = trouble
        self._tell(self.pulse())

    async def trouble_slack(self, trouble: str) -> None:
        """Let Slack answer 429 to every post and edit, or be well again."""
        if trouble not in ("none", "busy"):
            raise Refused("There is no such trouble.")
        self.slack.faults.lift()
        if trouble == "busy":
            self.slack.faults.plan(_SLACK_BUSY, on="chat.*", times=None)
        self.slack_trouble = trouble
        self._tell(self.pulse())

    async def kill_bot(self) -> None:
        """Kill the bot. Returns when Slack has noticed, so that a new start is distinct from the old."""
        await self.bot.kill()
        await self.slack.until(lambda: self.slack.socket_mode.connections == 0)

    async def start_bot(self, *, patience_seconds: float = 20.0) -> None:
        """Start the bot, with the same database as before, and wait until it is connected."""
        await self.bot.start()
        try:
            await self.slack.connected(timeout=patience_seconds)
        except TimeoutError:
            return
        self.bot.is_up()

    def in_background(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let something go on while the visitor does other things."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def close(self) -> None:
        """End what goes on in the background."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    # Inside.

    def _channels(self) -> list[Channel]:
        workspace = self.slack.workspace
        directs = [workspace.direct(workspace.user(name).id) for name in PEOPLE]
        return [*(workspace.channel(name) for name in CHANNELS), *directs]

    def _person(self, name: str, note: str) -> Event:
        user = self.slack.workspace.user(name)
        return {"id": user.id, "name": self.name(user.id), "note": note}

    def _channel(self, channel: Channel) -> Event:
        bot = self.slack.workspace.bot.id
        return {
            "id": channel.id,
            "name": channel.name if channel.kind != "direct" else self.name(bot),
            "kind": channel.kind,
            "members": sorted(channel.members),
            "has_bot": bot in channel.members,
            "is_shared": channel.shared is not None,
            "is_link_only": channel.name == LINK_ONLY,
            "gets_feedback": channel.name == FEEDBACK,
        }

    def _channel_of(self, user: str, channel: str) -> Channel:
        for place in self._channels():
            if place.id == channel and user in place.members and user in self.slack.workspace.users:
                return place
        raise Refused("This person is not in that channel.")

    async def _invite(self, place: Channel) -> None:
        if place.kind == "direct":
            raise Refused("Nobody can be invited into a direct message.")
        await self.slack.invite_bot(place.id)
        self._tell({"kind": "channels", "channels": [self._channel(each) for each in self._channels()]})

    def _view(self, stored: Mapping[str, Any]) -> messages_module.View:
        return messages_module.message(stored, self.name)

    def _on_change(self, change: Change) -> None:
        event = {"kind": change.kind, "channel": change.channel, "user": change.user}
        if change.kind == "view":
            self._tell(event | {"view": self.visit.modal(change.user)})
        elif change.kind == "home":
            self._tell(event | {"view": self.visit.home(change.user)})
        elif change.kind == "typed":
            self._tell(event | {"message": change.message})
        else:
            self._tell(event | {"message": self._view(change.message)})

    def _on_bot(self) -> None:
        self._tell(self.pulse() | {"changed": "bot"})

    def _tell(self, event: Event) -> None:
        for queue in list(self._listeners):
            if queue.full():
                # Too slow to follow: it is notified and starts again with a snapshot.
                self._listeners.discard(queue)
                while not queue.empty():
                    queue.get_nowait()
                event = {"kind": "lost"}
            queue.put_nowait(event)
