"""Planted faults fit the code that they patch."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest

from bot.storage.cards import SqlCardRepository
from tests.simulation import planted


@pytest.fixture(autouse=True)
def _weeded() -> Iterator[None]:
    yield
    patch.stopall()


@pytest.mark.parametrize("name", sorted(planted.FAULTS))
def test_planted_fault_has_matching_signature(name: str) -> None:
    planted.plant(name)


def test_patch_without_argument_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def mark_shown(self: object, watch: object, card: object, look: object) -> None: ...

    monkeypatch.setattr(SqlCardRepository, "mark_shown", mark_shown)
    with pytest.raises(TypeError, match="plant it anew"):
        planted.plant("look-not-marked-unknown")
