"""Budgets belong to keys and to workspaces: who has the same key waits at the same gate, and nobody else does."""

from dataclasses import replace

import pytest

from bot.domain.cards import TeamId, UserId
from bot.domain.credentials import Credentials
from bot.ratelimit import OmniRateLimiters, Rate, edit_limiter

pytestmark = pytest.mark.looptime

ACME = Credentials(
    team=TeamId("T0ACME"),
    bot_user=UserId("U0BOT"),
    bot_id="B0BOT",
    bot_token="xoxb-1",
    omni_base_url="https://acme.omniapp.co",
    omni_api_token="omni_osk_1",
    requests_per_minute=60,
)
SAME_KEY = replace(ACME, team=TeamId("T0OTHER"), bot_token="xoxb-2")


class RememberingLedger:
    """Gives what is asked for, and remembers to which budget it was put down."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    async def take(self, budget: str, rate: Rate, *, urgent: bool = True) -> float:
        self.taken.append(budget)
        return 0.0

    async def pause(self, budget: str, rate: Rate, seconds: float) -> None: ...


async def test_same_key_shares_one_limiter() -> None:
    gates = OmniRateLimiters(RememberingLedger())
    async with gates.of(ACME) as one, gates.of(SAME_KEY) as other:
        assert one is other


@pytest.mark.parametrize(
    "other",
    [
        replace(ACME, omni_api_token="omni_osk_2"),
        replace(ACME, omni_base_url="https://other.omniapp.co"),
    ],
    ids=["another key", "another Omni"],
)
async def test_other_keys_have_other_budgets(other: Credentials) -> None:
    ledger = RememberingLedger()
    gates = OmniRateLimiters(ledger)
    async with gates.of(ACME) as one, gates.of(other) as two:
        await one.acquire()
        await two.acquire()
        assert one is not two
    assert len(set(ledger.taken)) == 2


async def test_limiter_is_open_until_its_last_user() -> None:
    gates = OmniRateLimiters(RememberingLedger())
    async with gates.of(ACME) as gate:
        async with gates.of(SAME_KEY):
            pass
        await gate.acquire()
        first = gate
    async with gates.of(ACME) as gate:
        await gate.acquire()
        assert gate is not first


async def test_edit_budget_is_per_workspace() -> None:
    ledger = RememberingLedger()
    for team in ("T0ACME", "T0OTHER"):
        gate = edit_limiter(ledger, TeamId(team))
        await gate.acquire()
        await gate.close()
    assert ledger.taken == ["chat.update T0ACME", "chat.update T0OTHER"]


def test_budget_name_hides_the_key() -> None:
    longest = replace(ACME, omni_base_url="https://" + "a" * 200, omni_api_token="k" * 500)
    for credentials in (ACME, longest):
        assert len(credentials.omni_budget) <= 64
        assert credentials.omni_api_token not in credentials.omni_budget
    assert ACME.omni_budget == SAME_KEY.omni_budget


def test_credentials_do_not_show_their_secrets() -> None:
    assert "xoxb" not in repr(ACME) and "osk" not in repr(ACME)
