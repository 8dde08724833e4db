"""Slack messages sent to the simulated Slack over a real socket."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bot.demo.faults import Fault
from bot.demo.slack.simulator import SimulatedSlack
from bot.domain.cards import CardId, ChannelId, ChannelRef, TeamId, UserId
from bot.domain.messages import Message
from bot.slack.messages import WebApiMessages, slack_client, slack_session

CARD_ID = CardId("7d0f3c1e-8a51-4f2b-9a6e-0d7b0a9c5e11")

SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "*Top products*"}}

CARD = Message("Top products: running", (SECTION,))


class World:
    """A simulated Slack and the bot's messages in it."""

    def __init__(self, slack: SimulatedSlack, messages: WebApiMessages) -> None:
        self.slack = slack
        self.messages = messages
        self.here = self.place("data-team")

    def place(self, channel: str) -> ChannelRef:
        return ChannelRef(TeamId(self.slack.team), ChannelId(self.slack.workspace.channel(channel).id))

    def person(self, name: str) -> UserId:
        return UserId(self.slack.workspace.user(name).id)

    def refuses(self, code: str) -> None:
        self.slack.faults.plan(Fault("status", 200, json.dumps({"ok": False, "error": code})))


@asynccontextmanager
async def messages_of(slack: SimulatedSlack) -> AsyncIterator[WebApiMessages]:
    async with slack_session() as session:
        yield WebApiMessages(slack_client(slack.bot_token, slack.api_url, session))
