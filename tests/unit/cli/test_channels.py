"""`python -m bot channel`: which workspace it means, and what it refuses."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.cli.channels import channel_default, channel_id, list_all, set_default, unset
from bot.cli.workspaces import Refused
from bot.demo.slack.simulator import SimulatedSlack
from bot.domain.cards import ChannelId
from bot.domain.errors import StoreUnavailable
from bot.domain.questions import ChannelDefault, ModelId
from bot.settings import Settings
from bot.storage.database import Database
from bot.storage.transactions import Transactions
from tests.support.installed import ACME, CLIENT_ID, NEW_KEY, OTHER, installation, store

MODEL = "770e8400-e29b-41d4-a716-446655440002"
SALES = ChannelId("C0SALES")
SHOP = ChannelDefault(ModelId(MODEL))


@pytest.fixture
async def url(tmp_path: Path) -> str:
    """A database that a bot has opened."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'bot.sqlite3'}"
    await (await Database.open(url)).close()
    return url


@pytest.fixture
async def slack() -> AsyncIterator[SimulatedSlack]:
    async with SimulatedSlack() as slack:
        yield slack


def single(url: str, slack: SimulatedSlack, **changed: object) -> Settings:
    values = {
        "slack_bot_token": slack.bot_token,
        "slack_app_token": slack.app_token,
        "slack_api_url": slack.api_url,
        "omni_base_url": "https://acme.omniapp.co",
        "omni_api_token": "key",
        "database_url": url,
    }
    return Settings.model_validate(values | changed)


def several(url: str) -> Settings:
    return Settings.model_validate(
        {
            "slack_app_token": "xapp-1",
            "slack_client_id": CLIENT_ID,
            "slack_client_secret": "0" * 32,
            "encryption_key": NEW_KEY,
            "public_url": "https://jobs.example.com",
            "port": "8080",
            "omni_base_url": "https://acme.omniapp.co",
            "omni_api_token": "key",
            "allowed_teams": f"{ACME},{OTHER}",
            "database_url": url,
        }
    )


async def install(url: str, *teams: str) -> None:
    database = await Database.open(url)
    for team in teams:
        await store(Transactions(database), NEW_KEY).async_save(installation(team))
    await database.close()


async def lines(command: AsyncIterator[str]) -> list[str]:
    return [line async for line in command]


async def test_only_workspace_needs_no_name(url: str, slack: SimulatedSlack) -> None:
    settings = single(url, slack)
    assert await lines(list_all(settings, None)) == ["No channel has a model of its own."]
    (done,) = await lines(set_default(settings, None, SALES, SHOP))
    assert done.startswith(f"Questions asked in C0SALES now go to model {MODEL}")
    assert await lines(list_all(settings, slack.workspace.team)) == [f"C0SALES  model {MODEL}"]
    await lines(unset(settings, None, SALES))
    with pytest.raises(Refused, match="no model of its own"):
        await lines(unset(settings, None, SALES))


async def test_refused_token_changes_nothing(url: str, slack: SimulatedSlack) -> None:
    with pytest.raises(Refused, match="does not say to which workspace"):
        await lines(set_default(single(url, slack, slack_bot_token="xoxb-wrong"), None, SALES, SHOP))


async def test_several_workspaces_need_a_name(url: str) -> None:
    settings = several(url)
    with pytest.raises(Refused, match="one of: none yet"):
        await lines(list_all(settings, None))
    await install(url, ACME)
    await lines(set_default(settings, None, SALES, SHOP))
    await install(url, OTHER)
    with pytest.raises(Refused, match=f"Give --team .* {ACME}, {OTHER}|{OTHER}, {ACME}"):
        await lines(set_default(settings, None, SALES, SHOP))
    with pytest.raises(Refused, match="not installed in T0THIRD"):
        await lines(set_default(settings, "T0THIRD", SALES, SHOP))
    assert await lines(list_all(settings, ACME)) == [f"C0SALES  model {MODEL}"]
    assert await lines(list_all(settings, OTHER)) == ["No channel has a model of its own."]


async def test_database_without_tables_is_refused(tmp_path: Path, slack: SimulatedSlack) -> None:
    with pytest.raises(StoreUnavailable, match="Start the bot first"):
        await lines(list_all(single(f"sqlite+aiosqlite:///{tmp_path / 'none'}", slack), None))


@pytest.mark.parametrize("typed", ["", "sales", "#sales", "D0ADA", "c0sales", "C0SALES;"])
def test_invalid_channel_is_refused(typed: str) -> None:
    with pytest.raises(Refused, match="the channel's id"):
        channel_id(typed)


@pytest.mark.parametrize(
    "model, topic, why",
    [
        ("Shop", None, "the model's id"),
        (MODEL, " ", "the topic's name"),
        (MODEL, "a\nb", "the topic's name"),
        (MODEL, "t" * 151, "the topic's name"),
    ],
)
def test_invalid_model_or_topic_is_refused(model: str, topic: str | None, why: str) -> None:
    with pytest.raises(Refused, match=why):
        channel_default(model, topic)


def test_model_and_topic_are_normalized() -> None:
    assert channel_default(MODEL.upper(), " orders ") == ChannelDefault(ModelId(MODEL), "orders")
