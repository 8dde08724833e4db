"""What a visitor of the demo may do with shortcuts, modals and the Home tab, in the name of whom they chose to be."""

import json
from collections.abc import Mapping
from typing import Any

from bot.demo import inputview
from bot.demo.offers import SHORTCUTS
from bot.demo.slack import Acked, SimulatedSlack
from bot.demo.surfaces import OpenView
from bot.demo.text import Names


class Refused(Exception):
    """What the visitor asked for can't be done; `str(error)` tells them why."""


SILENT = "The bot did not answer within 3 seconds."


class Visit:
    """Modals and the like of the people of a workspace."""

    def __init__(self, slack: SimulatedSlack, names: Names) -> None:
        self._slack = slack
        self._names = names

    def modal(self, user: str) -> dict[str, Any] | None:
        """What a person sees of their modal."""
        return self._drawn(self._slack.modal(user))

    def home(self, user: str) -> dict[str, Any] | None:
        """What a person sees on the app's Home tab."""
        return self._drawn(self._slack.home(user))

    def _drawn(self, view: OpenView | None) -> dict[str, Any] | None:
        return None if view is None else inputview.surface(view, self._names)

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
        return [inputview.option(option, self._names) for option in options]

    async def submit(self, user: str, values: str) -> None:
        """A person fills in inputs and submits; what came of it is to be seen in the modal."""
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
