"""Previews the addresses of Omni chats that people paste: how the newest job stands, for all who read there."""

from typing import Any

import structlog
from slack_bolt.async_app import AsyncApp

from bot.access import Access
from bot.errands import Errands
from bot.errors import BoardError, OmniError, StoreUnavailable
from bot.job import Conversation, NotAReference, parse_reference
from bot.link import chat_link
from bot.person import Views
from bot.ports import Omni
from bot.previews import preview
from bot.watch import ChannelId, Place, TeamId, UserId

log = structlog.get_logger()

MOST_PREVIEWS = 3
"""Of one message; each costs two requests to Omni."""
POSTED = "conversations_history"
"""The source of links in a message that was posted. While one is being written, nothing is looked up."""


class Unfurling:
    """Answers links to Omni's chats, where the app's settings in Slack name Omni's domain."""

    def __init__(
        self, *, omni: Omni, access: Access, views: Views, errands: Errands, team: TeamId, tenant: str
    ) -> None:
        """`tenant`: Omni's address; only chats on it are previewed. `team`: as for the other listeners."""
        self._omni = omni
        self._access = access
        self._views = views
        self._errands = errands
        self._team = team
        self._tenant = tenant

    def register(self, app: AsyncApp) -> None:
        """The route; `manifest.yml` names the same."""
        app.event("link_shared")(self.on_links)

    async def on_links(self, body: dict[str, Any]) -> None:
        """Somebody has posted addresses on a domain of the app's."""
        event = body.get("event") or {}
        person = UserId(event.get("user") or "")
        if event.get("source", POSTED) != POSTED or self._errands.is_repeated(body.get("event_id")):
            return
        if self._errands.is_full:
            return  # nobody has asked for the preview
        place = Place(self._team, ChannelId(event.get("channel") or ""))
        self._errands.run(self._preview(event, place, person), self._errands.privately(place, person))

    async def _preview(self, event: dict[str, Any], place: Place, person: UserId) -> None:
        addresses = [str(link.get("url") or "") for link in event.get("links") or ()]
        chats = {address: chat for address in addresses if (chat := self._chat(address))}
        if not chats or await self._access.refusal(person, place) is not None:
            return
        previews: dict[str, dict[str, object]] = {}
        for address, chat in list(chats.items())[:MOST_PREVIEWS]:
            if (found := await self._look(chat, person)) is not None:
                previews[address] = found
        if not previews:
            return
        try:
            await self._views.unfurl(str(event.get("unfurl_id") or ""), POSTED, previews)
        except BoardError as error:
            log.warning("link not previewed", code=error.code)

    def _chat(self, address: str) -> Conversation | None:
        """The chat on the tenant's own Omni that the address leads to."""
        if (link := chat_link(address, self._tenant)) is None:
            return None
        try:
            # On loopback, where the demo runs, chats are on http; only the id in the address is used.
            reference = parse_reference(link.replace("http://", "https://", 1))
        except NotAReference:
            return None
        return reference if isinstance(reference, Conversation) else None

    async def _look(self, chat: Conversation, person: UserId) -> dict[str, Any] | None:
        try:
            job = await self._omni.newest_job(chat)
            if job is None:
                return None
            reading = await self._omni.status(job, urgent=True)
            return preview(reading) if await self._access.may_see(person, reading) else None
        except (OmniError, StoreUnavailable) as error:
            log.info("link not looked up", error=type(error).__name__)
            return None
