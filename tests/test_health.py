"""Whether the bot can do its work right now, as `/readyz` tells it, and if not, why."""

from typing import Any, cast

import pytest

from bot.delivery import Delivery
from bot.errors import StoreUnavailable
from bot.health import Health
from bot.transactions import Transactions
from bot.workspaces import Workspaces


class Stub:
    """A bot, its one workspace and its database, as far as their health is looked at. All is well until a test says
    otherwise."""

    def __init__(self) -> None:
        self.connected = True
        self.refused: str | None = None
        self.error: Exception | None = None
        self.board = self
        self.running = [self]

    async def is_connected(self) -> bool:
        return self.connected

    async def answers(self) -> None:
        if self.error is not None:
            raise self.error


@pytest.fixture
def stub() -> Stub:
    return Stub()


@pytest.fixture
def health(stub: Stub) -> Health:
    health = Health()
    health.workspaces, health.transactions = cast(Workspaces, stub), cast(Transactions, stub)
    health.delivery = cast(Delivery, stub)
    return health


async def test_a_bot_that_has_not_begun_is_not_ready() -> None:
    assert await Health().problem() == "not connected to Slack"


async def test_a_bot_that_can_do_its_work_has_no_problem(health: Health) -> None:
    assert await health.problem() is None


@pytest.mark.parametrize(
    "trouble, told",
    [
        ({"connected": False}, "not connected to Slack"),
        ({"refused": "token_revoked"}, "Slack refuses the bot's token"),
        ({"error": StoreUnavailable("no answer within 5 s")}, "database does not answer"),
    ],
)
async def test_each_trouble_is_told_until_it_is_over(
    health: Health, stub: Stub, trouble: dict[str, Any], told: str
) -> None:
    before = {name: getattr(stub, name) for name in trouble}
    for name, value in trouble.items():
        setattr(stub, name, value)
    assert await health.problem() == told
    for name, value in before.items():
        setattr(stub, name, value)
    assert await health.problem() is None


async def test_where_one_of_several_workspaces_has_thrown_the_bot_out_it_works_in_the_others(
    health: Health, stub: Stub
) -> None:
    other = Stub()
    stub.running = [stub, other]
    stub.refused = "account_inactive"
    assert await health.problem() is None
    other.refused = "token_revoked"
    assert await health.problem() == "Slack refuses the bot's token"


async def test_a_bot_that_is_installed_nowhere_yet_is_ready_to_be(health: Health, stub: Stub) -> None:
    stub.running = []
    assert await health.problem() is None
