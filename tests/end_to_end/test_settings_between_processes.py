"""Two processes on one database whose settings differ."""

import asyncio

import pytest

from bot import app
from bot.domain.errors import SettingsError
from bot.workspaces import agreement
from tests.end_to_end.conftest import POSTGRESQL
from tests.end_to_end.world import World

DATABASES = (POSTGRESQL,)


@pytest.mark.socket_mode  # it chooses the port itself
async def test_process_with_different_omni_does_not_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "WAITS_SECONDS", 1.0)
    another = world.settings(omni_base_url="http://127.0.0.1:9")
    async with world.bot():
        await asyncio.sleep(2)
        with pytest.raises(SettingsError, match="OMNI_BASE_URL"):
            await app.serve(another, asyncio.Event())
    async with world.bot(omni_base_url="http://127.0.0.1:9"):
        pass
