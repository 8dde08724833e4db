"""Actions of the demo's visitor with shortcuts, modals and the Home tab, as the chosen user."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from bot.demo.page_views import inputs
from bot.demo.page_views.text import Names
from bot.demo.slack.simulator import Acked, SimulatedSlack
from bot.demo.slack.surfaces import OpenView


class Refused(Exception):
    """The visitor's action is not possible; `str(error)` is the reason shown."""


SILENT = "The bot did not answer within 3 seconds."


class Visit:
    """Modals and the like of the people of a workspace."""

    def __init__(self, slack: SimulatedSlack, names: Names) -> None:
        self._slack = slack
        self._names = names

    def modal(self, user: str) -> dict[str, Any] | None:
        """The visible part of a user's modal."""
        return self._drawn(self._slack.modal(user))

    def home(self, user: str) -> dict[str, Any] | None:
        """The app's Home tab as a user sees it."""
        return self._drawn(self._slack.home(user))

    def _drawn(self, view: OpenView | None) -> dict[str, Any] | None:
        if view is None:
            return None
        offered = partial(self._slack.conversations, view.user)
        return inputs.surface(inputs.with_conversations(view, offered), self._names)

    async def shortcut(self, user: str, callback_id: str) -> None:
        """A person chooses a global shortcut."""
        _need(callback_id, "global")
        _need_answer(await self._slack.shortcut(callback_id, user=user))

    async def message_shortcut(self, user: str, channel: str, ts: str, callback_id: str) -> None:
        """A person chooses a shortcut on a message."""
        _need(callback_id, "message")
        try:
            acked = await self._slack.message_shortcut(callback_id, user=user, channel=channel, ts=ts)
        except (LookupError, ValueError):
            raise Refused("That message is gone already.") from None
        _need_answer(acked)

    async def open_home(self, user: str) -> None:
        """A person opens the app's Home tab."""
        _need_answer(await self._slack.open_home(user))

    async def press(self, user: str, on: str, action_id: str, value: str) -> None:
        """A person presses a button of their modal or Home tab."""
        try:
            acked = await self._slack.press(action_id, user=user, on=on, value=value or None)
        except LookupError:
            raise Refused("That button is no longer there.") from None
        _need_answer(acked)

    async def enter(self, user: str, on: str, values: str) -> None:
        """A person fills in inputs; `values` is a JSON object by block_id or action_id."""
        try:
            acks = await self._slack.enter(_object(values), user=user, on=on)
        except LookupError:
            raise Refused("That choice is no longer there.") from None
        for acked in acks:
            _need_answer(acked)

    async def suggest(self, user: str, action_id: str, query: str) -> list[dict[str, Any]]:
        """A person types into an external select; the options that the app offers."""
        try:
            options = await self._slack.suggest(action_id, query, user=user)
        except LookupError:
            raise Refused("That form was closed.") from None
        return [inputs.option(option, self._names) for option in options]

    async def submit(self, user: str, values: str) -> None:
        """Fill in inputs and submit; the modal shows the outcome."""
        try:
            await self._slack.submit_view(_object(values), user=user)
        except LookupError:
            raise Refused("That form was closed.") from None

    async def close(self, user: str) -> None:
        """A person closes what they see of their modal."""
        try:
            await self._slack.close_view(user=user)
        except LookupError:
            raise Refused("That form was closed.") from None


def _object(values: str) -> Mapping[str, Any]:
    """Raises ValueError where it is no JSON object."""
    decoded = json.loads(values)
    if not isinstance(decoded, dict):
        raise ValueError("no object")  # noqa: TRY004 - the page's mistake, as any other in its JSON
    return decoded


def _need(callback_id: str, kind: str) -> None:
    if not any((each.callback_id, each.kind) == (callback_id, kind) for each in SHORTCUTS):
        raise Refused("There is no such shortcut.")


def _need_answer(acked: Acked) -> None:
    if not acked.acked:
        raise Refused(SILENT)


COMMAND = "/omni-job"

ASK = "/omni-ask"

OFFERS: tuple[dict[str, Any], ...] = (
    {"text": f"{COMMAND} ", "shown": f"{COMMAND} <job id or chat address>", "about": "Follow a job here"},
    {"text": f"{COMMAND} list", "about": "The jobs you follow that still run"},
    {"text": f"{COMMAND} help", "about": "What the bot can do"},
    {"text": f"{ASK} ", "shown": f"{ASK} <question>", "about": "Ask Omni"},
    {"text": ASK, "about": "A form to ask with: model, topic, private or here"},
    {
        "text": "@omni-job-bot ",
        "shown": "@omni-job-bot <question>",
        "about": "Ask Omni, or go on in a thread",
    },
)
"""Completions of the composer. One that ends in a space expects more input."""

CHANNELS = ("data-team", "sales", "finance", "feedback", "leadership", "random", "partners")

LINK_ONLY = "finance"
"""The channel that gets only links to Omni."""

FEEDBACK = "feedback"
"""The channel that gets 👍 and 👎."""

PEOPLE = {
    "ada": "",
    "grace": "a bot admin",
    "linus": "unknown in Omni",
    "marie": "a guest of the workspace",
    "edsger": "of another company",
}
"""Whom a visitor can be, and what is special about them."""


@dataclass(frozen=True, slots=True)
class Shortcut:
    """An entry that the app has in Slack's menus, as its manifest says."""

    kind: Literal["message", "global"]
    callback_id: str
    name: str


SHORTCUTS = (
    Shortcut("message", "follow_message", "Follow Omni job"),
    Shortcut("global", "ask_anywhere", "Ask Omni"),
    Shortcut("global", "follow_any", "Follow an Omni job"),
)
