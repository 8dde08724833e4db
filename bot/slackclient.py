"""The client of Slack's Web API, which counts its calls."""

from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.errors import BoardBusy, BoardError, BoardUnreachable, TokenRefused, Unanswered
from bot.meter import Meter, Outcome
from bot.slackcodes import refusal

_OUTCOMES: dict[type[BoardError], Outcome] = {
    BoardBusy: Outcome.RATE_LIMITED,
    TokenRefused: Outcome.KEY_REFUSED,
    Unanswered: Outcome.UNANSWERED,
    BoardUnreachable: Outcome.SERVER_ERROR,
}


def outcome_of(error: BoardError) -> Outcome:
    """What Slack's refusal is counted as."""
    return _OUTCOMES.get(type(error), Outcome.REFUSED)


class MeteredWebClient(AsyncWebClient):
    """The SDK's client, which says what came of each call."""

    def __init__(self, meter: Meter, **more: Any) -> None:
        """`more`: as for the base class."""
        super().__init__(**more)
        self._meter = meter

    async def api_call(self, api_method: str, **more: Any) -> AsyncSlackResponse:
        """See the base class, whose every method of Slack's comes through here."""
        outcome = Outcome.ABANDONED
        try:
            answer = await super().api_call(api_method, **more)
            outcome = Outcome.OK
        except SlackApiError as error:
            outcome = outcome_of(refusal(error.response))
            raise
        except aiohttp.ClientConnectorError:
            outcome = Outcome.NOT_SENT
            raise
        except Exception:
            outcome = Outcome.UNANSWERED
            raise
        finally:
            self._meter.slack_call(api_method, outcome)
        return answer
