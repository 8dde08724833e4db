"""Two workspaces in one process, each with its own Slack, Omni and key. Ids are the same in both; only
the team differs."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from random import Random

import pytest
from slack_bolt.async_app import AsyncApp

from bot.demo.omni.server import SimulatedOmni
from bot.demo.omni.timeline import Complete, Script
from bot.demo.slack.simulator import SimulatedSlack
from bot.domain.cards import TeamId, UserId
from bot.domain.credentials import Credentials
from bot.domain.ports.metrics import NO_METRICS
from bot.ratelimit import OmniRateLimiters
from bot.slack.dispatch import Dispatcher
from bot.slack.messages import slack_client, slack_session
from bot.slack.socket_mode import SocketMode
from bot.storage.database import Database
from bot.storage.rate_limits import SqlRateLimitStore
from bot.storage.transactions import Transactions
from bot.tasks import end
from bot.tracking import ConversationLists
from bot.workspaces.processes import ProcessResources, process_resources
from bot.workspaces.registry import Workspaces
from bot.workspaces.workspace import SharedResources, Workspace, build, now
from tests.end_to_end.world import World
from tests.support.postgres import database

LONG = Script(0.0, ((60.0, "Thinking", 1),))
on_one_database = pytest.mark.parametrize("both", ["SQLite"], indirect=True)
JOB = "550e8400-e29b-41d4-a716-446655440000"


class Both:
    """Two companies, and what is known of the bot in their workspaces. It is a `CredentialSource`."""

    def __init__(self, acme: World, other: World) -> None:
        self.acme = acme
        self.other = other
        self.sides = [acme, other]
        self.known = [credentials(side) for side in self.sides]

    async def list(self) -> Sequence[Credentials]:
        return list(self.known)


def credentials(side: World) -> Credentials:
    return Credentials(
        team=TeamId(side.slack.team),
        bot_user=UserId(side.slack.bot_user),
        bot_id=side.slack.workspace.bot_id,
        bot_token=side.slack.bot_token,
        omni_base_url=side.omni.base_url,
        omni_api_token=side.omni.api_key,
        requests_per_minute=side.omni.requests_per_minute,
    )


@pytest.fixture(params=["SQLite", "PostgreSQL"])
async def both(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Both]:
    async with AsyncExitStack() as closing:
        url = closing.enter_context(database()) if request.param == "PostgreSQL" else None
        worlds = []
        for team in ("T0ACME", "T0OTHER"):
            slack = await closing.enter_async_context(SimulatedSlack(team=team))
            omni = await closing.enter_async_context(SimulatedOmni(api_key=f"omni_osk_{team}"))
            worlds.append(World(slack, omni, tmp_path, url))
        yield Both(*worlds)


@pytest.fixture
async def workspaces(both: Both) -> AsyncIterator[Workspaces]:
    """The bot in both workspaces, which Slack can reach. The simulated Slacks have a socket each."""
    async with AsyncExitStack() as closing:
        url = both.acme.settings().database_url.get_secret_value()
        opened = await Database.open(url)
        closing.push_async_callback(opened.close)
        transactions = Transactions(opened)
        closing.push_async_callback(transactions.drain)
        session = await closing.enter_async_context(slack_session())
        shared = await closing.enter_async_context(process_resources(transactions, url, Random()))
        ledger = SqlRateLimitStore(transactions, now)
        gates = OmniRateLimiters(ledger)
        common = {
            side.slack.team: SharedResources(
                side.settings(),
                session,
                transactions,
                ledger,
                gates,
                ConversationLists(),
                shared,
                b"",
                NO_METRICS,
                None,
            )
            for side in both.sides
        }
        workspaces = Workspaces(both, lambda known: build(common[known.team], known))
        await workspaces.refresh()
        tasks: list[asyncio.Task[None]] = [
            asyncio.create_task(_heard(shared)),
            asyncio.create_task(shared.runners.run(workspaces.of)),
        ]
        closing.push_async_callback(end, tasks)
        closing.push_async_callback(workspaces.stop)
        for side, workspace in zip(both.sides, workspaces.running, strict=True):
            app = slack_client(side.slack.app_token, side.slack.api_url, session)
            dispatch = Dispatcher(partial(_app, workspace))
            socket = SocketMode(dispatch, app)
            tasks.append(asyncio.create_task(socket.run()))
            await side.slack.connected()
        yield workspaces
        shared.runners.drain()


async def _app(workspace: Workspace, _team: TeamId) -> AsyncApp:
    return workspace.app


async def _heard(shared: ProcessResources) -> None:
    await shared.listen()


async def test_each_workspace_uses_its_own_omni(both: Both, workspaces: Workspaces) -> None:
    for side in both.sides:
        side.omni.add(LONG, job_id=JOB)
        await side.type(JOB)
    cards = [await side.card("Thinking") for side in both.sides]
    both.acme.omni.set(JOB, state="COMPLETE", resultSummary="Acme sold 7.")
    answered = await both.acme.card("Acme sold 7.")
    both.other.omni.set(JOB, state="COMPLETE", resultSummary="The other sold 9.")
    await both.other.card("The other sold 9.")
    (still,) = both.acme.slack.messages(both.acme.channel)

    assert answered.ts == cards[0].ts
    assert still.text == answered.text, "one's answer is not seen in the other's workspace"
    refused = [request for side in both.sides for request in side.omni.requests if request.status == 401]
    assert refused == [], "each key is good at its own Omni only"


@on_one_database
async def test_job_is_unknown_to_other_omni(both: Both, workspaces: Workspaces) -> None:
    both.acme.omni.add(LONG, job_id=JOB)
    await both.acme.type(JOB)
    await both.acme.card("Thinking")
    await both.other.type(JOB)
    await both.other.reply_to(both.other.ada, "Omni has no such job")
    await both.other.type("list")
    await both.other.reply_to(both.other.ada, "You aren't following any running jobs")

    assert both.other.slack.messages(both.other.channel) == []


@on_one_database
async def test_rate_limited_key_does_not_affect_others(both: Both, workspaces: Workspaces) -> None:
    both.acme.omni.add(LONG, job_id=JOB)
    await both.acme.type(JOB)
    await both.acme.card("Thinking")
    both.acme.omni.requests_per_minute, both.acme.omni.retry_after = 0, 60
    async with asyncio.timeout(15):
        while both.acme.omni.answered_429 == 0:
            await asyncio.sleep(0.05)
    job = both.other.omni.add(Script(0.0, ((1.0, "Thinking", 1),), 0.0, Complete("The answer.")))
    await both.other.type(job)
    await both.other.card("The answer.")

    assert both.acme.omni.answered_429 == 1, "a pause is a pause"
    assert both.other.omni.answered_429 == 0


async def test_reopened_workspace_continues(both: Both, workspaces: Workspaces) -> None:
    for side in both.sides:
        side.omni.add(LONG, job_id=JOB)
        await side.type(JOB)
        await side.card("Thinking")
    both.known.pop()
    await workspaces.close(TeamId("T0OTHER"))
    tasks = {task.get_name() for task in asyncio.all_tasks()}
    asked, drawn = len(both.other.omni.requests), len(both.other.slack.requests)
    both.other.omni.set(JOB, state="COMPLETE", resultSummary="The other sold 9.")
    both.acme.omni.set(JOB, state="COMPLETE", resultSummary="Acme sold 7.")
    await both.acme.card("Acme sold 7.")
    await asyncio.sleep(1.0)

    assert "workspace T0OTHER" not in tasks and "workspace T0ACME" in tasks
    assert (len(both.other.omni.requests), len(both.other.slack.requests)) == (asked, drawn)
    assert await workspaces.of(TeamId("T0OTHER")) is None

    both.known.append(credentials(both.other))
    await workspaces.refresh()
    await both.other.card("The other sold 9.")
