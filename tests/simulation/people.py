"""Simulated users: they type, click, and change channels and cards."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

from bot.demo.slack.workspace import Channel, StoredMessage
from bot.handlers.commands import FOLLOW_MESSAGE
from tests.simulation.looks import is_card, mark_of
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.machine import Machine, Route
from tests.simulation.scenario import Action, JobPlan
from tests.simulation.slackside import BOT_TOKEN, SlackSide
from tests.simulation.trace import Trace

_BUTTONS = {
    "stop": "stop_following",
    "forge": "stop_following",
    "resume": "resume_following",
    "cancel": "cancel_job",
    "retry": "retry_job",
    "data": "show_data",
}


@dataclass(eq=False, slots=True)
class Delivery:
    """One delivery of an envelope to one process."""

    at: float
    process: Process
    acked_at: float | None = None
    ended_at: float | None = None
    """When that process was no more."""


@dataclass(eq=False, slots=True)
class Asked:
    """Something that a person asked of the bot."""

    action: Action
    person: str
    place: str
    secret: str
    """Of the address for private lines; of a mention the thread."""
    deliveries: list[Delivery] = field(default_factory=list)
    card: str | None = None
    """The ts of the card that was clicked on."""
    card_job: str | None = None
    thread: str | None = None
    """The thread in which the card is to be a reply."""


class People:
    """Do what a scenario has them do; remembers what they asked for."""

    def __init__(
        self,
        loop: SimulatedLoop,
        machine: Machine,
        slack: SlackSide,
        trace: Trace,
        random: Random,
        defects: list[str],
    ) -> None:
        self.loop = loop
        self.machine = machine
        self.slack = slack
        self.trace = trace
        self.random = random
        self.defects = defects
        self.asked: list[Asked] = []
        self.ever_closed: set[str] = set()
        """The places from which the bot was shut out at some time."""
        self.jobs: Callable[[], Sequence[JobPlan]] = tuple
        self.delivered: Callable[[Process], None] = lambda _: None
        """Called when an envelope reaches a process."""

    def act(self, action: Action) -> None:
        """Let a person do it."""
        workspace = self.slack.workspace
        place = workspace.direct(action.person) if action.place == "dm" else workspace.channels[action.place]
        self.trace.note(
            "people", f"{action.person} {action.kind} in {place.id} job {action.job} {action.deliveries}"
        )
        match action.kind:
            case "follow" | "chat" | "ask" | "list" | "help" | "nonsense":
                if action.person in place.members and not place.archived:
                    self._command(action, place)
            case "stop" | "resume" | "forge" | "cancel" | "retry" | "data":
                self._click(action, place)
            case "delete":
                self._delete_card(action, place)
            case "archive":
                place.archived = True
                self.ever_closed.add(place.id)
            case "unarchive":
                place.archived = False
            case "expel" if place.kind != "direct":
                place.members.discard(workspace.bot.id)
                self.ever_closed.add(place.id)
            case "invite" if place.kind != "direct":
                place.members.add(workspace.bot.id)
            case "revoke":
                self.slack.tokens[BOT_TOKEN] = "revoked"
            case "reinstall":
                self.slack.tokens[BOT_TOKEN] = "bot"

    def _command(self, action: Action, place: Channel) -> None:
        job = self.jobs()[action.job]
        text = {
            "follow": self.random.choice((job.id, f"`{job.id}`", f"<{job.id.upper()}>")),
            "chat": f"https://acme.omniapp.co/chat/{job.conversation}",
            "ask": job.question,
            "list": "list",
            "help": "help",
        }.get(action.kind, "what is this")
        if action.by != "command":
            self._ask_in_thread(action, place, text)
            return
        name = "/omni-ask" if action.kind == "ask" else "/omni-job"
        secret, payload = self.slack.command(name, text, self.slack.workspace.users[action.person], place)
        self._send(Asked(action, action.person, place.id, secret), name, payload)

    def _ask_in_thread(self, action: Action, place: Channel, text: str) -> None:
        user = self.slack.workspace.users[action.person]
        secret, kind, payload = "", FOLLOW_MESSAGE, None
        if action.by == "mention":
            bot = self.slack.workspace.bot.id
            message = self.slack.say_in_thread(f"<@{bot}> {text}", user, place)
            kind, payload = "app_mention", self.slack.mentioned(message)
        else:
            message = self.slack.say_in_thread(f"Follow {text}", user, place)
            secret, payload = self.slack.shortcut(FOLLOW_MESSAGE, user, message)
        thread = str(message.thread_ts)
        if payload is None:
            self.trace.note("people", "the bot is not there to be mentioned")
            return
        self._send(Asked(action, action.person, place.id, secret or thread, thread=thread), kind, payload)

    def _click(self, action: Action, place: Channel) -> None:
        action_id = _BUTTONS[action.kind]
        message = self._card(action, place)
        clicked = message and self.slack.click(self.slack.workspace.users[action.person], message, action_id)
        if message is None or not clicked:
            self.trace.note("people", "nothing to click on")
            return
        secret, payload = clicked
        if action.kind == "forge":
            payload["actions"][0] |= {"value": "no such watch", "selected_option": None}
        asked = Asked(action, action.person, place.id, secret, card=message.ts, thread=message.thread_ts)
        plan = self.jobs()[action.job]
        asked.card_job = (plan.again or plan).id
        self._send(asked, payload["actions"][0]["action_id"], payload)

    def _card(self, action: Action, place: Channel) -> StoredMessage | None:
        """The newest card of the action's job in a place."""
        plan = self.jobs()[action.job]
        job = (plan.again or plan).id
        cards = [
            message
            for message in place.messages.values()
            if message.by_bot
            and is_card(mark_of(message.metadata), message.text)
            and job in f"{message.text} {message.blocks}"
        ]
        return cards[-1] if cards else None

    def _delete_card(self, action: Action, place: Channel) -> None:
        message = self._card(action, place)
        if message is not None:
            self.trace.note("people", f"the card {message.ts} is deleted")
            self.slack.workspace.delete(message)

    def _send(self, asked: Asked, kind: str, payload: dict[str, Any]) -> None:
        self.asked.append(asked)
        for seconds in asked.action.deliveries:
            self.loop.in_world(seconds, lambda: self._deliver(asked, kind, payload))

    def _deliver(self, asked: Asked, kind: str, payload: dict[str, Any]) -> None:
        running = self.machine.reachable()
        if running is None or running.routes is None:
            self.trace.note("slack", "nobody there: operation_timeout")
            return
        routes = running.routes
        route = (routes.commands | routes.actions | routes.shortcuts | routes.events)[kind]
        delivery = Delivery(self.loop.time(), running.process)
        asked.deliveries.append(delivery)
        self.trace.note(
            running.process.name, f"gets {kind.removeprefix('/')} of {asked.person} in {asked.place}"
        )
        self.delivered(running.process)
        self.loop.create_task(
            self._listen(route, payload, delivery), context=running.process.context.copy(), name="listener"
        )

    async def _listen(self, route: Route, payload: dict[str, Any], delivery: Delivery) -> None:
        async def ack(*_: object, **__: object) -> None:
            if delivery.acked_at is None:
                delivery.acked_at = self.loop.time()

        with suppress(asyncio.CancelledError):
            try:
                await route(ack, payload)
            except Exception as error:  # noqa: BLE001 - a listener must raise nothing at all
                self.defects.append(f"a listener raised {error!r}")
