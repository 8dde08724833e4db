"""A plain HTTP client of the simulated Omni."""

from typing import Any

import httpx

from bot.demo.omni.organization import MODEL
from bot.demo.omni.server import SimulatedOmni

ASKED: dict[str, Any] = {"modelId": MODEL, "prompt": "Why?"}


class Caller:
    """Somebody with a key."""

    def __init__(self, omni: SimulatedOmni, token: str) -> None:
        self._omni = omni
        self._headers = {"Authorization": f"Bearer {token}"}

    async def get(self, path: str, **query: str) -> httpx.Response:
        async with self._client() as client:
            return await client.get(path, params=query)

    async def list(self, path: str, **query: str) -> Any:
        answer = await self.get(path, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def submit(self, *, as_user: str | None = None, **more: object) -> httpx.Response:
        async with self._client() as client:
            query = {} if as_user is None else {"userId": as_user}
            return await client.post("/api/v1/ai/jobs", json=ASKED | more, params=query)

    async def cancel(self, job: str) -> httpx.Response:
        async with self._client() as client:
            return await client.post(f"/api/v1/ai/jobs/{job}/cancel")

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self._omni.base_url, headers=self._headers, trust_env=False)
