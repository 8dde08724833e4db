"""The budgets of requests to Omni, one for each key: workspaces that use the same key wait at the same gate."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bot.budget import Gate, Ledger
from bot.credentials import Credentials
from bot.parts import omni_gate


@dataclass(slots=True, eq=False)
class _Used:
    gate: Gate
    users: int = 0


class OmniGates:
    """The gates that somebody uses now."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._used: dict[tuple[str, int], _Used] = {}

    @asynccontextmanager
    async def of(self, credentials: Credentials) -> AsyncIterator[Gate]:
        """The gate of a key, as long as the context lasts; closed when the last who uses it has left."""
        name = (credentials.omni_budget, credentials.requests_per_minute)
        used = self._used.setdefault(name, _Used(omni_gate(self._ledger, credentials)))
        used.users += 1
        try:
            yield used.gate
        finally:
            used.users -= 1
            if used.users == 0:
                del self._used[name]
                await used.gate.close()
