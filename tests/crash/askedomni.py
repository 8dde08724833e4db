"""A simulated Omni that records which process polled which job."""

import time
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler

from bot.demo.omni.server import SimulatedOmni


@dataclass(frozen=True, slots=True)
class Question:
    """One request for a job's status: when, by which process, about which job."""

    at: float
    by: str
    job: str


class AskedOmni(SimulatedOmni):
    """A simulated Omni that knows which process asks how a job stands: each spells the key in its own way."""

    def __init__(self, requests_per_minute: int) -> None:
        super().__init__(requests_per_minute=requests_per_minute)
        self.questions: list[Question] = []

    def key_of(self, process: str) -> str:
        return f"{self.api_key}-{process}"

    @web.middleware
    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = request.headers.copy()
        key, _, process = headers.get("Authorization", "").rpartition("-")
        headers["Authorization"] = key
        if not request.path.endswith("/vis"):
            self.questions.append(Question(time.time(), process, request.path.rpartition("/")[2]))
        return await super()._gate(request.clone(headers=headers), handler)
