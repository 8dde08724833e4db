"""How the parts between Slack and Omni are put together, whatever they talk to at either end."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from bot.access import AccessRules
from bot.arrivals import Arrivals
from bot.asks import Asks
from bot.budget import Gate, Ledger, Rate
from bot.cards import Cards
from bot.datadesk import DataDesk
from bot.desk import Desk
from bot.drawing import Drawing
from bot.follower import Follower
from bot.gatekeeper import Gatekeeper, OmniUsers
from bot.handlers import Handlers, Whisper
from bot.learning import Learning
from bot.palette import Palette
from bot.person import Directory
from bot.ports import Board, Durations, Omni, Watches
from bot.posting import Posting
from bot.results import Results
from bot.runner import Follow, Runner
from bot.thread import Thread
from bot.uploading import Uploading
from bot.venues import Venues
from bot.watch import TeamId, UserId

EDITS_PER_MINUTE = 50
"""Slack's tier 3, per method and workspace. Source: docs.slack.dev/apis/web-api/rate-limits."""
EDITS_AT_ONCE = 5
REQUESTS_AT_ONCE = 4
"""How many of a minute's requests to Omni may go at once after a silence, so that a person's first answer does
not wait; the more, the slower the rest of that minute."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator decides."""

    tenant: str
    """Omni's address; only chats on it become links."""
    requests_per_minute: int
    """What Omni allows the key."""
    notify_after_seconds: float
    """An answer that took longer is announced in the card's thread."""
    access: AccessRules
    """Who may do what."""
    follow_for_seconds: float
    """A job that has not ended by then is looked after no more, until somebody asks for it."""


@dataclass(frozen=True, slots=True)
class World:
    """What the parts stand in: the two services, the database, and the time."""

    omni: Omni
    board: Board
    watches: Watches
    durations: Durations
    asks: Asks
    directory: Directory
    omni_users: OmniUsers
    whisper: Whisper
    now: Callable[[], datetime]
    """The time, aware UTC."""
    team: TeamId
    bot_user: UserId


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs, built and not yet started."""

    follower: Follower
    learning: Learning
    runner: Runner
    drawing: Drawing
    posting: Posting
    handlers: Handlers


def omni_gate(ledger: Ledger, rules: Rules) -> Gate:
    """The budget of requests to Omni."""
    return Gate(ledger, "omni", Rate.within(rules.requests_per_minute, burst=REQUESTS_AT_ONCE))


def edit_gate(ledger: Ledger) -> Gate:
    """The budget of edits in Slack."""
    return Gate(ledger, "chat.update", Rate.within(EDITS_PER_MINUTE, burst=EDITS_AT_ONCE))


def assemble(
    world: World, rules: Rules, edits: Gate, arrivals: Arrivals, run: Callable[[Follow], Runner]
) -> Parts:
    """Put the parts together. `run` makes the runner of the follow that is handed to it."""
    venues = Venues(world.directory, allow_shared=rules.access.allow_shared_channels)
    access = Gatekeeper(
        rules.access,
        directory=world.directory,
        venues=venues,
        omni_users=world.omni_users,
        watches=world.watches,
        asks=world.asks,
        now=world.now,
    )
    palette = Palette()
    drawing = Drawing(world.board, world.watches, edits, palette)
    posting = Posting(world.board, world.now, palette)
    thread = Thread(
        watches=world.watches,
        posting=posting,
        uploading=Uploading(world.board, posting, world.now),
        now=world.now,
        tenant=rules.tenant,
        notify_after_seconds=rules.notify_after_seconds,
    )
    cards = Cards(
        board=world.board,
        watches=world.watches,
        drawing=drawing,
        posting=posting,
        thread=thread,
        palette=palette,
        arrivals=arrivals,
        is_shared=venues.is_shared_at_the_end,
        now=world.now,
        tenant=rules.tenant,
    )
    learning = Learning(world.durations, world.now)
    follower = Follower(
        omni=world.omni,
        watches=world.watches,
        cards=cards,
        now=world.now,
        learning=learning,
        follow_for_seconds=rules.follow_for_seconds,
    )
    runner = run(follower.follow)
    desk = Desk(
        omni=world.omni,
        board=world.board,
        watches=world.watches,
        arrivals=arrivals,
        access=access,
        start=runner.start,
        now=world.now,
        bot_user=world.bot_user,
    )
    data_desk = DataDesk(
        omni=world.omni,
        results=Results(world.omni, world.now),
        board=world.board,
        watches=world.watches,
        posting=posting,
        tenant=rules.tenant,
        bot_user=world.bot_user,
    )
    handlers = Handlers(desk, data_desk, world.whisper, world.team)
    return Parts(follower, learning, runner, drawing, posting, handlers)
