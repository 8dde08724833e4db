"""Actions of users with shortcuts, modals and the Home tab of the simulated Slack."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.demo.slack import events_api
from bot.demo.slack.block_kit import view_state, views
from bot.demo.slack.interactions import message_shortcut_payload, shortcut_payload
from bot.demo.slack.records import User
from bot.demo.slack.service import Acked
from bot.demo.slack.surfaces import STACK_MOST, OpenView
from bot.demo.slack.user_messages import Conversing
from bot.demo.slack.view_interactions import (
    action_payload,
    closed_payload,
    submission_payload,
    suggestion_payload,
)

TROUBLE = "We had some trouble connecting. Try again?"
"""Slack's message in a modal whose submission got no valid acknowledgement."""


@dataclass(frozen=True, slots=True)
class Submission:
    """Outcome of submitting a modal."""

    sent: bool
    """Whether the app was asked at all: Slack's own client refuses an empty required input."""
    closed: bool = False
    """Whether the view is gone."""
    errors: Mapping[str, str] = field(default_factory=dict)
    """By block_id."""
    trouble: str | None = None


class Surfacing(Conversing):
    """A service whose people use shortcuts, modals and the Home tab."""

    async def shortcut(self, callback_id: str, *, user: str, deliveries: int = 1) -> Acked:
        """A person chooses a global shortcut."""
        body = shortcut_payload(self.workspace, callback_id=callback_id, user=self.workspace.user(user))
        return await self.delivery.deliver("interactive", body, answerable=False, times=deliveries)

    async def message_shortcut(
        self, callback_id: str, *, user: str, channel: str, ts: str, deliveries: int = 1
    ) -> Acked:
        """A person chooses a shortcut on a message, also on one in a thread.

        Raises:
            LookupError: there is no such person, channel or message.
            ValueError: the person can't see the message.
        """
        person, place = self._person_in(user, channel)
        message = self._seen_by(person, place, ts)
        if message.only_for is not None:
            raise ValueError("Slack offers no shortcuts on what only one person sees")
        body = message_shortcut_payload(
            self.workspace,
            callback_id=callback_id,
            user=person,
            channel=place,
            message=message,
            response_url=self._response_url(place, person, message),
        )
        return await self.delivery.deliver("interactive", body, answerable=False, times=deliveries)

    async def open_home(self, user: str, *, deliveries: int = 1) -> Acked:
        """A person opens the app's Home tab.

        Raises:
            LookupError: there is no such person, or the app has no Home tab.
        """
        person = self.workspace.user(user)
        if not self.workspace.surfaces.home_enabled:
            raise LookupError("the app has no Home tab")
        event = events_api.home_opened(self.workspace, person.id, self.workspace.direct(person.id))
        return await self._deliver(event, deliveries=deliveries)

    def modal(self, user: str) -> OpenView | None:
        """The visible part of a user's open modal."""
        return self.workspace.surfaces.top(self.workspace.user(user).id)

    def home(self, user: str) -> OpenView | None:
        """The app's Home tab as a user sees it."""
        return self.workspace.surfaces.homes.get(self.workspace.user(user).id)

    async def press(
        self,
        action_id: str,
        *,
        user: str,
        on: str = "modal",
        value: str | None = None,
        deliveries: int = 1,
    ) -> Acked:
        """A person presses a button of their modal, or with `on="home"` of their Home tab: of several with that
        action_id the one with that value, and a forged one where none has it.

        Raises:
            LookupError: there is no such button.
        """
        person, view = self._looking_at(user, on)
        offered = [(b, e) for b, e in view_state.elements(view.content) if e["action_id"] == action_id]
        buttons = [(block, element) for block, element in offered if element["type"] == "button"]
        if not buttons:
            raise LookupError(f"no button {action_id!r} on the {on} of {person.name}")
        fitting = [pair for pair in buttons if value is None or pair[1].get("value") == value]
        block, button = (fitting or buttons)[0]
        action: dict[str, Any] = {
            name: button[name]
            for name in ("type", "action_id", "text", "value", "style", "url")
            if name in button
        }
        if value is not None:
            action["value"] = value
        body = action_payload(self.workspace, person, view, {**action, "block_id": block["block_id"]})
        return await self.delivery.deliver("interactive", body, answerable=False, times=deliveries)

    async def enter(self, values: Mapping[str, Any], *, user: str, on: str = "modal") -> list[Acked]:
        """Fill in inputs of a user's modal, by action_id or block_id: a text, an option's value, a list of
        values; None empties. The app gets an event at once if the input is not in an `input` block, or dispatches.

        Raises:
            LookupError: there is no such input or option.
        """
        person, view = self._looking_at(user, on)
        acks = []
        for name, given in values.items():
            if action := self._enter(view, name, given):
                body = action_payload(self.workspace, person, view, action)
                acks.append(await self.delivery.deliver("interactive", body, answerable=False))
        return acks

    def _enter(self, view: OpenView, name: str, given: Any) -> dict[str, Any] | None:
        for block, element in view_state.inputs(view.content):
            if name not in (element["action_id"], block["block_id"]):
                continue
            suggested = view.suggested.get(element["action_id"], ())
            if element["type"] == "conversations_select":
                suggested = self.conversations(view.user, element)
            state = view_state.entered(element, given, suggested)
            view.values[block["block_id"]][element["action_id"]] = state
            if block["type"] == "input" and not block.get("dispatch_action"):
                return None
            return {**state, "action_id": element["action_id"], "block_id": block["block_id"]}
        raise LookupError(f"no input {name!r} in {view.content['blocks']}")

    def conversations(self, user: str, element: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What a conversations select offers to a person, as options: the channels that they see and its filter lets
        through. Source: docs.slack.dev/reference/block-kit/composition-objects/conversation-filter-object."""
        kinds = {"direct": "im", "private": "private", "public": "public"}
        wanted = element.get("filter", {})
        return [
            {"value": channel.id, "text": {"type": "plain_text", "text": f"#{channel.name}"}}
            for channel in self.workspace.channels.values()
            if (channel.kind == "public" or user in channel.members)
            and not channel.archived
            and kinds[channel.kind] in wanted.get("include", kinds.values())
            and not (channel.shared and wanted.get("exclude_external_shared_channels"))
        ]

    async def suggest(self, action_id: str, query: str, *, user: str) -> list[dict[str, Any]]:
        """A person types into an external select of their modal; returns the options that the app offers.

        None of them where the query is shorter than `min_query_length`, where the app is silent, or answers what Slack
        would not take.

        Raises:
            LookupError: there is no such select.
        """
        person, view = self._looking_at(user, "modal")
        selects = [(b, e) for b, e in view_state.inputs(view.content) if e["type"] == "external_select"]
        fitting = [(block, element) for block, element in selects if element["action_id"] == action_id]
        if not fitting:
            raise LookupError(f"no external select {action_id!r} in the modal of {person.name}")
        ((block, element),) = fitting
        if len(query) < element.get("min_query_length", view_state.QUERY_LEAST):
            return []
        body = suggestion_payload(self.workspace, person, view, block["block_id"], action_id, query)
        acked = await self.delivery.deliver("interactive", body, answerable=True)
        if not acked.acked or views.judge_options(acked.payload or {}) is not None:
            return []
        view.suggested[action_id] = view_state.options(acked.payload or {})
        return view.suggested[action_id]

    async def submit_view(
        self, values: Mapping[str, Any] | None = None, *, user: str, deliveries: int = 1
    ) -> Submission:
        """A person fills in their modal as by `enter`, and submits it.

        Raises:
            LookupError: no modal is open, or there is no such input or option.
        """
        person, view = self._looking_at(user, "modal")
        await self.enter(values or {}, user=user)
        if missing := view_state.complaints(view.content, view.values):
            view.errors = missing
            self.workspace.tell_view("view", view)
            return Submission(False, errors=missing)
        body = submission_payload(self.workspace, person, view)
        acked = await self.delivery.deliver("interactive", body, answerable=True, times=deliveries)
        came_of_it = (
            self._settle(view, acked.payload or {}) if acked.acked else Submission(True, trouble=TROUBLE)
        )
        view.errors, view.trouble = dict(came_of_it.errors), came_of_it.trouble
        self.workspace.tell_view("view", view)
        return came_of_it

    def _settle(self, view: OpenView, answer: Mapping[str, Any]) -> Submission:
        """Do what the acknowledgement of a submission says. Source: docs.slack.dev/surfaces/modals."""
        surfaces = self.workspace.surfaces
        match answer.get("response_action"):
            case None if not answer:
                surfaces.close(view)
                return Submission(True, closed=True)
            case "clear":
                surfaces.close(view, whole=True)
                return Submission(True, closed=True)
            case "errors" if _names_inputs(view, answer.get("errors")):
                return Submission(True, errors=answer["errors"])
            case "update" if views.judge(answer.get("view"), kind="modal") is None:
                surfaces.replace(view, answer["view"])
                return Submission(True)
            case "push" if views.judge(answer.get("view"), kind="modal") is None:
                if len(surfaces.modals[view.user]) < STACK_MOST:
                    surfaces.push(view.user, answer["view"])
                    return Submission(True)
        return Submission(True, trouble=TROUBLE)

    async def close_view(self, *, user: str, whole: bool = False) -> Acked:
        """Close the topmost view of a user's modal, or all views; the app is notified if it asked for that.

        Raises:
            LookupError: no modal is open.
        """
        person, view = self._looking_at(user, "modal")
        is_cleared = whole or bool(view.content.get("clear_on_close"))
        acked = Acked(False, None, 0.0)
        for gone in self.workspace.surfaces.close(view, whole=is_cleared):
            if gone.content.get("notify_on_close"):
                body = closed_payload(self.workspace, person, gone, is_cleared=is_cleared)
                acked = await self.delivery.deliver("interactive", body, answerable=False)
        self.workspace.tell_view("view", view)
        return acked

    def _looking_at(self, user: str, on: str) -> tuple[User, OpenView]:
        person = self.workspace.user(user)
        view = self.home(person.id) if on == "home" else self.modal(person.id)
        if view is None:
            raise LookupError(f"{person.name} has no {on} open")
        return person, view


def _names_inputs(view: OpenView, errors: Any) -> bool:
    """Whether errors name input blocks of the view, with words; Slack can't show any others."""
    inputs = {block["block_id"] for block in view.content["blocks"] if block["type"] == "input"}
    return (
        isinstance(errors, dict)
        and bool(errors)
        and errors.keys() <= inputs
        and all(isinstance(words, str) and words for words in errors.values())
    )
