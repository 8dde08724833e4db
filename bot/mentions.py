"""Bolt's side of what people write to the bot: mentions of it, and its direct messages.

Bolt acknowledges events by itself. Slack may deliver one several times; its event id tells. A message is answered once,
however many events there are of it.
"""

from typing import Any

from slack_bolt.async_app import AsyncApp

from bot import asklines
from bot.askdesk import AskDesk, Wish
from bot.desk import Desk
from bot.destinations import split_private
from bot.errands import Errand, Errands
from bot.job import NotAReference, parse_reference
from bot.payloads import Said, said
from bot.watch import TeamId, UserId


class Mentions:
    """What can be written to the bot."""

    def __init__(
        self, desk: Desk, ask_desk: AskDesk, errands: Errands, *, team: TeamId, bot_user: UserId
    ) -> None:
        """`team`: the workspace of the app, for payloads that name none."""
        self._desk = desk
        self._ask_desk = ask_desk
        self._errands = errands
        self._team = team
        self._bot_user = bot_user

    def register(self, app: AsyncApp) -> None:
        """The routes; `manifest.yml` names the same."""
        app.event("app_mention")(self.on_mention)
        app.event("message")(self.on_message)

    async def on_mention(self, body: dict[str, Any]) -> None:
        """The bot was mentioned in a conversation that it is in."""
        self._answer(body)

    async def on_message(self, body: dict[str, Any]) -> None:
        """Something was written in the bot's direct messages, or changed or deleted there."""
        if (body.get("event") or {}).get("channel_type") == "im":
            self._answer(body)

    def _answer(self, body: dict[str, Any]) -> None:
        words = said(body, self._team, self._bot_user)
        if words is None or words.person == self._bot_user or self._errands.is_repeated(body.get("event_id")):
            return
        # Who corrects a message mentions the bot anew, and its other events have ids of their own.
        message = (
            f"{words.place.channel} {words.message}" if words.message and not _is_for_help(words) else ""
        )
        if self._errands.is_repeated(message):
            return
        tell = self._errands.privately(words.place, words.person, thread=words.thread)
        self._errands.run(self._errand(words), tell)

    def _errand(self, words: Said) -> Errand:
        if _is_for_help(words):
            return _tell(asklines.help_text())
        if words.thread is not None:
            wish = Wish(words.words, delivery=words.message)
            return self._ask_desk.mentioned(wish, words.place, words.thread, words.person)
        if _names_a_job(words.words):
            return self._desk.follow(words.words, words.place, words.person)
        prompt, private = split_private(words.words)
        return self._ask_desk.ask(
            Wish(prompt, private=private, delivery=words.message), words.place, words.person
        )


def _is_for_help(words: Said) -> bool:
    return words.words.lower() in ("", "help")


def _names_a_job(words: str) -> bool:
    try:
        parse_reference(split_private(words)[0])
    except NotAReference:
        return False
    return True


async def _tell(line: str) -> str:
    return line
