"""A workspace removes the app: what Slack tells of it, in whatever order, and however the database fares."""

from collections.abc import Mapping
from typing import Any

import pytest

from bot.domain.cards import TeamId
from bot.domain.errors import StoreUnavailable
from bot.workspaces.uninstall import Uninstaller

ACME = TeamId("T0ACME")
BODY: Mapping[str, Any] = {"team_id": ACME, "type": "event_callback"}


class Kept:
    """The installations, and the follows that run for each."""

    def __init__(self) -> None:
        self.installed = {ACME}
        self.running = {ACME}
        self.good: set[TeamId] = set()
        self.down = 0
        self.leaving = Uninstaller(self.remove, self.stop, self.is_still_good)

    async def remove(self, team: TeamId) -> bool:
        if self.down:
            self.down -= 1
            raise StoreUnavailable("down")
        was = team in self.installed
        self.installed.discard(team)
        return was

    async def stop(self, team: TeamId) -> None:
        assert team not in self.installed or self.down, "what is stopped first would be opened again"
        self.running.discard(team)

    async def is_still_good(self, team: TeamId) -> bool:
        return team in self.good


@pytest.fixture
def kept() -> Kept:
    return Kept()


async def test_uninstall_deletes_token_and_stops_workspace(kept: Kept) -> None:
    await kept.leaving.uninstalled(BODY)
    assert (kept.installed, kept.running) == (set(), set())


async def test_revoked_bot_token_is_deleted(kept: Kept) -> None:
    await kept.leaving.revoked(BODY, {"type": "tokens_revoked", "tokens": {"oauth": [], "bot": ["U0OMNI"]}})
    assert (kept.installed, kept.running) == (set(), set())


async def test_event_of_an_organization_removes_its_installation(kept: Kept) -> None:
    organization = TeamId("E0ACME")
    kept.installed = {organization}
    authorization = {"enterprise_id": organization, "team_id": None, "is_enterprise_install": True}
    await kept.leaving.uninstalled({**BODY, "authorizations": [authorization]})
    assert kept.installed == set()


async def test_event_of_a_workspace_leaves_its_organization(kept: Kept) -> None:
    organization = TeamId("E0ACME")
    kept.installed |= {organization}
    authorization = {"enterprise_id": organization, "team_id": ACME, "is_enterprise_install": False}
    await kept.leaving.uninstalled({**BODY, "authorizations": [authorization]})
    assert kept.installed == {organization}


@pytest.mark.parametrize("tokens", [{"oauth": ["U0ADA"]}, {"oauth": ["U0ADA"], "bot": []}, {}, None])
async def test_revoked_user_token_changes_nothing(kept: Kept, tokens: object) -> None:
    await kept.leaving.revoked(BODY, {"type": "tokens_revoked", "tokens": tokens})
    assert (kept.installed, kept.running) == ({ACME}, {ACME})


async def test_both_uninstall_events_act_once(kept: Kept) -> None:
    await kept.leaving.revoked(BODY, {"tokens": {"bot": ["U0OMNI"]}})
    await kept.leaving.uninstalled(BODY)
    assert (kept.installed, kept.running) == (set(), set())


async def test_late_event_keeps_new_installation(kept: Kept) -> None:
    kept.good = {ACME}
    await kept.leaving.uninstalled(BODY)
    assert (kept.installed, kept.running) == ({ACME}, {ACME})


@pytest.mark.looptime
async def test_removal_waits_for_the_database(kept: Kept) -> None:
    kept.down = 2
    await kept.leaving.uninstalled(BODY)
    assert (kept.installed, kept.running) == (set(), set())


@pytest.mark.looptime
async def test_workspace_stops_without_database(kept: Kept) -> None:
    kept.down = 99
    await kept.leaving.uninstalled(BODY)
    assert kept.running == set()
