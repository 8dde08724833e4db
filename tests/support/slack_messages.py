"""Slack messages sent to the simulated Slack over a real socket."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bot.demo.faults import Fault
from bot.demo.slack.simulator import SimulatedSlack
from bot.domain.cards import ChannelId, Place, TeamId, UserId, WatchId
from bot.domain.messages import Message
from bot.slack.messages import SlackBoard, slack_client, slack_session

WATCH = WatchId("7d0f3c1e-8a51-4f2b-9a6e-0d7b0a9c5e11")

SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "*Top products*"}}

CARD = Message("Top products: running", (SECTION,))


class World:
    """A simulated Slack and our board on it."""

    def __init__(self, slack: SimulatedSlack, board: SlackBoard) -> None:
        self.slack = slack
        self.board = board
        self.here = self.place("data-team")

    def place(self, channel: str) -> Place:
        return Place(TeamId(self.slack.team), ChannelId(self.slack.workspace.channel(channel).id))

    def person(self, name: str) -> UserId:
        return UserId(self.slack.workspace.user(name).id)

    def refuses(self, code: str) -> None:
        self.slack.faults.plan(Fault("status", 200, json.dumps({"ok": False, "error": code})))


@asynccontextmanager
async def board_of(slack: SimulatedSlack) -> AsyncIterator[SlackBoard]:
    async with slack_session() as session:
        yield SlackBoard(slack_client(slack.bot_token, slack.api_url, session))
