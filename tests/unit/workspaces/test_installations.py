"""Installations and each workspace's Omni: kept encrypted, one per workspace, and never another company's."""

import asyncio
from dataclasses import replace

import pytest
from slack_sdk.oauth.installation_store.sqlalchemy import AsyncSQLAlchemyInstallationStore
from slack_sdk.oauth.state_store.sqlalchemy import AsyncSQLAlchemyOAuthStateStore
from sqlalchemy import MetaData, select

from bot.domain.access import SlackUser
from bot.domain.cards import UserId
from bot.domain.credentials import OmniAccount
from bot.domain.errors import DecryptionFailed
from bot.encryption import EncryptionKeys
from bot.settings import Settings
from bot.storage import installations as installations_module
from bot.storage.installations import StateStore
from bot.storage.tables import slack_bots, slack_installations, slack_oauth_states, workspaces
from bot.storage.transactions import Transactions
from bot.workspaces.workspace import rules_in
from tests.support.databases import Opened
from tests.support.installed import (
    ACME,
    NEW_KEY,
    OLD_KEY,
    OTHER,
    OWN,
    SHARED,
    installation,
    installations,
    store,
)

SETTINGS = {
    "slack_bot_token": "xoxb-1",
    "slack_app_token": "xapp-1",
    "omni_base_url": "https://acme.omniapp.co",
    "omni_api_token": "key",
}
TABLES = (slack_bots, slack_installations, workspaces)


@pytest.fixture
async def transactions(database: Opened) -> Transactions:
    return await database.process()


async def everything(transactions: Transactions) -> str:
    """All that a copy of the database would show."""
    async with transactions.database.engine.begin() as connection:
        return "".join([str((await connection.execute(select(table))).all()) for table in TABLES])


async def test_installed_workspace_has_token_and_omni(
    transactions: Transactions,
) -> None:
    known = installations(transactions)
    await store(transactions).async_save(installation())
    await known.set_omni(ACME, OWN)
    (found,) = await known.list()
    assert (found.team, found.bot_user, found.bot_id, found.bot_token) == (
        ACME,
        "U0OMNI",
        "B0OMNI",
        "xoxb-secret",
    )
    assert (found.omni_base_url, found.omni_api_token) == (OWN.base_url, OWN.api_token)
    assert found.requests_per_minute == 120
    assert found.is_shut


async def test_settings_omni_is_for_allowed_teams(
    transactions: Transactions,
) -> None:
    await store(transactions).async_save(installation(ACME))
    await store(transactions).async_save(installation(OTHER))
    assert await installations(transactions).list() == []
    (found,) = await installations(transactions, to=ACME).list()
    assert (found.team, found.omni_api_token, found.is_shut) == (ACME, SHARED.api_token, False)
    assert await installations(transactions, to=ACME, shared=None).list() == []
    assert await installations(transactions, to=ACME).has_omni(ACME)
    assert not await installations(transactions, to=ACME).has_omni(OTHER)


async def test_allowed_teams_can_not_enter_own_omni(
    transactions: Transactions,
) -> None:
    known = installations(transactions, to=f"{ACME} {OTHER}")
    for team in (ACME, OTHER):
        await store(transactions).async_save(installation(team))
    await known.set_omni(OTHER, OWN)
    settings = Settings.model_validate(SETTINGS | {"allowed_teams": f"{ACME},{OTHER}"})
    shared, own = [rules_in(settings, credentials) for credentials in await known.list()]
    person = SlackUser(UserId("U0ADA"), frozenset({ACME}), is_stranger=True)
    assert shared.is_open_to(person)
    assert not own.is_open_to(person)
    assert own.is_open_to(replace(person, teams=frozenset({OTHER}), is_stranger=False))


async def test_undecryptable_key_gives_no_omni(
    transactions: Transactions,
) -> None:
    await store(transactions, NEW_KEY).async_save(installation())
    await installations(transactions, OLD_KEY).set_omni(ACME, OWN)
    assert await installations(transactions, NEW_KEY, to=ACME).list() == []


async def test_secrets_are_stored_encrypted(
    transactions: Transactions,
) -> None:
    granted = installation()
    granted.user_token, granted.bot_refresh_token = "xoxp-secret", "xoxe-secret"
    granted.incoming_webhook_url = "https://hooks.slack.example/secret"
    await store(transactions).async_save(granted)
    await installations(transactions).set_omni(ACME, OWN)
    kept = await everything(transactions)
    assert "secret" not in kept and OWN.api_token not in kept
    assert ACME in kept and OWN.base_url in kept
    found = await store(transactions).async_find_installation(enterprise_id=None, team_id=ACME)
    assert found is not None and (found.bot_token, found.user_token) == ("xoxb-secret", "xoxp-secret")


async def test_longest_token_fits_encrypted(transactions: Transactions) -> None:
    token = "xoxb-" + "9" * 250
    await store(transactions).async_save(installation(token=token))
    assert await installations(transactions).bot_token(ACME) == token


async def test_reinstallation_replaces_the_token(
    transactions: Transactions,
) -> None:
    await store(transactions).async_save(installation(token="xoxb-first"))
    again = installation(token="xoxb-second", enterprise="E0ACME")
    again.installed_at += 5
    await store(transactions).async_save(again)
    await store(transactions).async_save(installation(OTHER, "xoxb-other"))
    assert await installations(transactions).bot_token(ACME) == "xoxb-second"
    async with transactions.database.engine.begin() as connection:
        for table in (slack_bots, slack_installations):
            teams = (await connection.execute(select(table.c.team_id))).scalars()
            assert sorted(teams) == [ACME, OTHER]


async def test_removal_affects_one_workspace(
    transactions: Transactions,
) -> None:
    known = installations(transactions)
    await store(transactions).async_save(installation(ACME, enterprise="E0ACME"))
    await store(transactions).async_save(installation(OTHER))
    await known.set_omni(ACME, OWN)
    assert await known.remove(ACME)
    assert not await known.remove(ACME)
    assert (await known.bot_token(ACME), await known.bot_token(OTHER)) == (None, "xoxb-secret")
    assert [(one.team, one.name, one.omni) for one in await known.known()] == [
        (ACME, None, OWN),
        (OTHER, "Acme", None),
    ]
    assert await known.remove_omni(ACME)
    assert not await known.remove_omni(ACME)
    assert [one.team for one in await known.known()] == [OTHER]


async def test_new_omni_replaces_the_old(transactions: Transactions) -> None:
    known = installations(transactions)
    await store(transactions).async_save(installation())
    await known.set_omni(ACME, OWN)
    await known.set_omni(ACME, OmniAccount("https://new.omniapp.co", "omni_osk_new", 30))
    (found,) = await known.list()
    assert (found.omni_base_url, found.omni_api_token) == ("https://new.omniapp.co", "omni_osk_new")


async def test_keys_change_without_anything_being_lost(transactions: Transactions) -> None:
    await store(transactions, OLD_KEY).async_save(installation())
    await installations(transactions, OLD_KEY).set_omni(ACME, OWN)
    both = installations(transactions, f"{NEW_KEY},{OLD_KEY}")
    before = await both.list()
    assert len(before) == 1
    assert await both.reencrypt() == 0
    assert list(await installations(transactions, NEW_KEY).list()) == list(before)
    assert await installations(transactions, OLD_KEY).list() == []
    assert await installations(transactions, OLD_KEY).reencrypt() == 3, "what can't be read is left as it is"
    assert list(await installations(transactions, NEW_KEY).list()) == list(before)


async def test_oauth_state_works_once(database: Opened) -> None:
    transactions = await database.process()
    states = StateStore(transactions)
    state = await states.async_issue()
    others = [StateStore(await database.process()) for _ in range(3)]
    taken = await asyncio.gather(*(other.async_consume(state) for other in others))
    assert sorted(taken) == [False, False, True]
    assert not await states.async_consume("never issued")


async def test_oauth_state_expires(transactions: Transactions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installations_module, "BEGUN_FOR_SECONDS", -1)
    late = await StateStore(transactions).async_issue()
    assert not await StateStore(transactions).async_consume(late)
    monkeypatch.setattr(installations_module, "BEGUN_FOR_SECONDS", 600)
    good = await StateStore(transactions).async_issue()
    async with transactions.database.engine.begin() as connection:
        left = (await connection.execute(select(slack_oauth_states.c.state))).scalars().all()
    assert left == [good]


def test_tables_have_all_sdk_columns() -> None:
    theirs = MetaData()
    sdk = AsyncSQLAlchemyInstallationStore
    for ours, built in (
        (slack_bots, sdk.build_bots_table(theirs, "slack_bots")),
        (slack_installations, sdk.build_installations_table(theirs, "slack_installations")),
        (slack_oauth_states, AsyncSQLAlchemyOAuthStateStore.build_oauth_states_table(theirs, "slack_states")),
    ):
        assert set(ours.c.keys()) == set(built.c.keys())
        assert {c.name for c in ours.c if not c.nullable} >= {c.name for c in built.c if not c.nullable}


def test_wrong_encryption_key_decrypts_nothing() -> None:
    for wrong in ("", " , ", "secret", OLD_KEY[:-4], f"{OLD_KEY},secret"):
        with pytest.raises(ValueError, match="key"):
            EncryptionKeys(wrong)
    kept = EncryptionKeys(OLD_KEY).encrypt("xoxb-1")
    assert EncryptionKeys(f"{NEW_KEY}, {OLD_KEY}").decrypt(kept) == "xoxb-1"
    for what in (kept[:-2] + "AA", "nothing that was encrypted", ""):
        with pytest.raises(DecryptionFailed):
            EncryptionKeys(OLD_KEY).decrypt(what)
    with pytest.raises(DecryptionFailed):
        EncryptionKeys(NEW_KEY).decrypt(kept)
