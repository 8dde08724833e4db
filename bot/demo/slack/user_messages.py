"""Actions of users in channels of the simulated Slack: type, click, mention the app."""

from typing import Any

from bot.demo.slack import events_api, message_text
from bot.demo.slack.events_api import Event
from bot.demo.slack.interactions import click_payload, command_payload, find_control
from bot.demo.slack.records import Channel, StoredMessage, User
from bot.demo.slack.response_urls import say
from bot.demo.slack.service import Acked, SlackService
from bot.demo.slack.web_api.call import Refused


class Conversing(SlackService):
    """A service with people who converse."""

    async def command(
        self, text: str, *, user: str, channel: str, command: str = "/omni-job", deliveries: int = 1
    ) -> Acked:
        """A person types a command; returns when the app has acknowledged it, or failed to in 3 seconds.

        `user` and `channel` are ids or names. `deliveries=2` sends the same envelope twice.

        Raises:
            LookupError: there is no such person or channel.
            ValueError: the person can't type there.
        """
        person, place = self._person_in(user, channel)
        if place.archived:
            raise ValueError(f"nobody can type in {place.name}: it is archived")
        self.workspace.typed(place, person.id, f"{command} {text}".rstrip())
        body = command_payload(
            self.workspace,
            command=command,
            text=text,
            user=person,
            channel=place,
            response_url=self._response_url(place, person, None),
        )
        acked = await self.delivery.deliver("slash_commands", body, answerable=True, times=deliveries)
        if not acked.acked:
            self.workspace.whisper(place, person.id, f"{command} failed with the error `operation_timeout`")
        elif acked.payload:
            self._answer_inline(place, person, acked.payload)
        return acked

    def _answer_inline(self, place: Channel, person: User, payload: dict[str, Any]) -> None:
        try:
            say(self.workspace, place, person.id, payload)
        except Refused as refused:
            self.workspace.whisper(place, person.id, f"the app's answer was refused: `{refused.error}`")

    async def click(
        self,
        *,
        user: str,
        channel: str,
        ts: str,
        action_id: str,
        value: str | None = None,
        confirmed: bool = True,
        deliveries: int = 1,
    ) -> Acked:
        """A person clicks a button of a message, or chooses in its menu; `value` forges what neither offers.

        `action_id`: as in `find_control`.

        `confirmed=False`: they say no in its confirmation dialog, and the app hears nothing.

        Raises:
            LookupError: there is no such person, channel, message, button or dialog.
            ValueError: the person can't see the message.
        """
        person, place = self._person_in(user, channel)
        message = self._seen_by(person, place, ts)
        action = find_control(message, action_id)
        if value is not None and action is not None and "selected_option" in action:
            action = {**action, "selected_option": {**action["selected_option"], "value": value}}
        elif value is not None:
            action = {"type": "button", "block_id": "forged", **(action or {}), "action_id": action_id}
            action["value"] = value
        if action is None:
            raise LookupError(f"no button {action_id!r} in {message.blocks}")
        if not confirmed:
            return self._declined(message, action["action_id"])
        body = click_payload(
            self.workspace,
            user=person,
            channel=place,
            message=message,
            action=action,
            response_url=self._response_url(place, person, message),
        )
        return await self.delivery.deliver("interactive", body, answerable=False, times=deliveries)

    def _declined(self, message: StoredMessage, action_id: str) -> Acked:
        buttons = [button for block in message.blocks for button in block.get("elements", ())]
        if not any("confirm" in button for button in buttons if button.get("action_id") == action_id):
            raise LookupError(f"{action_id!r} asks for no confirmation")
        return Acked(False, None, 0.0)

    async def say(self, text: str, *, user: str, channel: str, thread: str | None = None) -> StoredMessage:
        """Post a user's message as typed. Its event is sent afterwards.

        Raises:
            LookupError: there is no such person, channel or thread.
            ValueError: the person can't type there.
        """
        message = self._said(text, user, channel, thread)
        for event in self._caused_by(message):
            self._in_background(self._deliver(event))
        return message

    async def mention(
        self, text: str, *, user: str, channel: str, thread: str | None = None, deliveries: int = 1
    ) -> StoredMessage:
        """Address the app: with a mention in a channel, without one in its direct message.

        Returns when the app has acknowledged the event, or gets none. Raises as `say`.
        """
        person, place = self._person_in(user, channel)
        is_direct = place.id == self.workspace.direct(person.id).id
        line = text if is_direct else f"<@{self.bot_user}> {text}"
        message = self._said(line, user, channel, thread)
        for event in self._caused_by(message):
            await self._deliver(event, deliveries=deliveries)
        return message

    def _said(self, text: str, user: str, channel: str, thread: str | None) -> StoredMessage:
        person, place = self._person_in(user, channel)
        if place.archived:
            raise ValueError(f"nobody can type in {place.name}: it is archived")
        if thread is not None and thread not in place.messages and thread not in place.tombstones:
            raise LookupError(f"no message {thread} in {place.name}")
        stored = message_text.as_stored(text, self.workspace.users.values())
        return self.workspace.post(place, person.id, stored, thread=thread)

    def _caused_by(self, message: StoredMessage) -> list[Event]:
        return list(events_api.caused_by(self.workspace, message))

    async def _deliver(self, event: Event, *, deliveries: int = 1) -> Acked:
        """Send an event if the app asked for it and may have it; what is not acknowledged is sent again later."""
        kind = events_api.kind_of(event)
        needed = events_api.SCOPES[kind]
        if kind not in self.event_settings.subscribed or needed not in {None, *self.granted_scopes}:
            return Acked(False, None, 0.0)
        body = events_api.callback(self.workspace, event)
        acked = await self.delivery.deliver_event(body, times=deliveries)
        if not acked.acked:
            self._in_background(self.delivery.deliver_again(body))
        return acked

    def _seen_by(self, person: User, place: Channel, ts: str) -> StoredMessage:
        for message in [*place.messages.values(), *self.workspace.private]:
            if message.channel == place.id and message.ts == ts:
                if message.only_for not in (None, person.id):
                    raise ValueError(f"{person.name} can't see {ts}")
                return message
        raise LookupError(f"no message {ts} in {place.name}")

    def _response_url(self, place: Channel, person: User, original: StoredMessage | None) -> str:
        secret = self._server.response_urls.issue(place, person.id, original, self._now())
        return f"{self.workspace.url}response/{secret}"
