"""Users' choices in a real database, SQLite and PostgreSQL."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import update

from bot.domain.cards import Notify, TeamId, UserId
from bot.domain.errors import StoreUnavailable
from bot.domain.results import Rating
from bot.storage.cards import SqlCardRepository
from bot.storage.installations import delete_uninstalled
from bot.storage.tables import preferences, ratings
from bot.storage.user_choices import SqlPreferenceRepository, SqlRatingRepository
from tests.support.databases import ADA, GRACE, NOON, Opened
from tests.support.fakes import a_card
from tests.support.installed import ACME, OTHER, installation, store

TEAM = TeamId("T0")


@pytest.fixture
async def choices(database: Opened) -> SqlPreferenceRepository:
    return SqlPreferenceRepository(await database.process(), TEAM)


async def test_default_is_always(choices: SqlPreferenceRepository) -> None:
    assert await choices.notify([ADA, GRACE]) == {ADA: Notify.ALWAYS, GRACE: Notify.ALWAYS}
    assert await choices.notify([]) == {}


async def test_last_choice_counts_in_every_process(
    database: Opened, choices: SqlPreferenceRepository
) -> None:
    for choice in (Notify.NEVER, Notify.FAILURES):
        await choices.set_notify(ADA, choice, NOON)
    again = SqlPreferenceRepository(await database.process(), TEAM)
    assert await again.notify([ADA, GRACE]) == {ADA: Notify.FAILURES, GRACE: Notify.ALWAYS}


async def test_choosing_the_default_deletes_the_row(choices: SqlPreferenceRepository) -> None:
    await choices.set_notify(ADA, Notify.NEVER, NOON)
    await choices.set_notify(ADA, Notify.ALWAYS, NOON)
    rows = await choices.transactions.run(lambda connection: connection.execute(preferences.select()).all())
    assert rows == []


async def test_simultaneous_choices_do_not_conflict(
    database: Opened, choices: SqlPreferenceRepository
) -> None:
    other = SqlPreferenceRepository(await database.process(), TEAM)
    both = (choices, other)
    await asyncio.gather(*(one.set_notify(ADA, Notify.NEVER, NOON) for one in both for _ in range(5)))
    assert (await choices.notify([ADA]))[ADA] is Notify.NEVER


async def test_choice_belongs_to_one_team(database: Opened, choices: SqlPreferenceRepository) -> None:
    await choices.set_notify(ADA, Notify.NEVER, NOON)
    other = SqlPreferenceRepository(choices.transactions, OTHER)
    assert await other.notify([ADA]) == {ADA: Notify.ALWAYS}


async def test_unknown_choice_of_newer_version_is_the_default(choices: SqlPreferenceRepository) -> None:
    await choices.set_notify(ADA, Notify.NEVER, NOON)
    await choices.transactions.run(
        lambda connection: connection.execute(update(preferences).values(notify="by mail"))
    )
    assert await choices.notify([ADA]) == {ADA: Notify.ALWAYS}


async def test_choices_without_app_are_deleted(choices: SqlPreferenceRepository) -> None:
    transactions = choices.transactions
    await store(transactions).async_save(installation(ACME))
    teams = [SqlPreferenceRepository(transactions, team) for team in (ACME, OTHER)]
    for one in teams:
        await one.set_notify(UserId(ADA), Notify.NEVER, NOON)
    await delete_uninstalled(transactions, NOON - timedelta(days=1))
    assert [(await one.notify([ADA]))[ADA] for one in teams] == [Notify.NEVER, Notify.NEVER]
    await delete_uninstalled(transactions, NOON + timedelta(days=1))
    assert [(await one.notify([ADA]))[ADA] for one in teams] == [Notify.NEVER, Notify.ALWAYS]


async def test_each_user_rates_a_card_once(database: Opened) -> None:
    transactions = await database.process()
    repository, cards = (
        SqlRatingRepository(transactions),
        SqlCardRepository(transactions, a_card().channel.team),
    )
    card = await cards.add(a_card())
    rated = [
        await repository.rate(card, user, rating, NOON)
        for user, rating in (
            (ADA, Rating.HELPFUL),
            (ADA, Rating.HELPFUL),
            (GRACE, Rating.HELPFUL),
            (ADA, Rating.UNHELPFUL),
        )
    ]
    assert rated == [True, False, True, True]
    rows = await transactions.run(lambda connection: connection.execute(ratings.select()).all())
    assert {(row.user, row.rating) for row in rows} == {(ADA, "unhelpful"), (GRACE, "helpful")}


async def test_ratings_are_deleted_with_their_card(database: Opened) -> None:
    transactions = await database.process()
    repository, cards = (
        SqlRatingRepository(transactions),
        SqlCardRepository(transactions, a_card().channel.team),
    )
    card = await cards.add(a_card())
    await repository.rate(card, ADA, Rating.HELPFUL, NOON)
    await cards.remove(card)
    rows = await transactions.run(lambda connection: connection.execute(ratings.select()).all())
    assert rows == []
    with pytest.raises(StoreUnavailable):
        await repository.rate(card, ADA, Rating.HELPFUL, NOON)


async def test_simultaneous_ratings_do_not_conflict(database: Opened) -> None:
    transactions = await database.process()
    repository, cards = (
        SqlRatingRepository(transactions),
        SqlCardRepository(transactions, a_card().channel.team),
    )
    card = await cards.add(a_card())
    rated = await asyncio.gather(*(repository.rate(card, ADA, Rating.HELPFUL, NOON) for _ in range(9)))
    assert sorted(rated) == [False] * 8 + [True]
