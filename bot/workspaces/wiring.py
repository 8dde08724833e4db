"""How the parts between Slack and Omni are put together, whatever they talk to at either end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from slack_bolt.async_app import AsyncApp

from bot.delivery.cards import Cards
from bot.delivery.fallback import Palette
from bot.delivery.outcomes import Arrivals
from bot.delivery.posts import Posting
from bot.delivery.thread import Thread
from bot.delivery.updates import Drawing
from bot.delivery.uploads import Uploading
from bot.domain.access import AccessRules
from bot.domain.cards import TeamId, UserId
from bot.domain.people import Person
from bot.domain.ports.metrics import UNMETERED, Meter
from bot.domain.ports.omni import Asking, Omni, OmniUsers
from bot.domain.ports.slack import Board, Directory, Views, Whisper
from bot.domain.ports.storage import Asks, Durations, GivenUps, Watches
from bot.domain.ports.worker import Follow, Runner
from bot.domain.questions import ModelId
from bot.handlers.background import Errands
from bot.handlers.commands import Handlers
from bot.handlers.home_tab import HomeTabs
from bot.handlers.messages import Mentions
from bot.handlers.modals import ModalHandlers
from bot.handlers.shortcuts import Shortcuts
from bot.ratelimit import Gate
from bot.services.ask import AskDesk
from bot.services.authorization import Gatekeeper
from bot.services.cancel import CancelDesk
from bot.services.follow import Desk
from bot.services.intents import Intents
from bot.services.job_data import DataDesk
from bot.services.job_results import Results
from bot.services.lookups import Lookups
from bot.services.models import Catalogue
from bot.services.shared_channels import Venues
from bot.services.submission import Submitting
from bot.services.targets import Destinations
from bot.settings import Settings
from bot.tracking.durations import Learning
from bot.tracking.events import JobEvents
from bot.tracking.tracker import Follower
from bot.user_limit import UserLimit


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator decides."""

    tenant: str
    """Omni's address; only chats on it become links."""
    settings: Settings
    access: AccessRules
    """Who may do what."""
    default_model: ModelId | None = None
    """The Omni model that is asked where a person has chosen none."""


@dataclass(frozen=True, slots=True)
class World:
    """What the parts stand in: the two services, the database, and the time."""

    omni: Omni
    asking: Asking
    omni_users: OmniUsers
    board: Board
    directory: Directory
    people: Lookups[UserId, Person]
    """Who people are, as the directory says."""
    views: Views
    watches: Watches
    given_ups: GivenUps
    durations: Durations
    asks: Asks
    whisper: Whisper
    now: Callable[[], datetime]
    """The time, aware UTC."""
    team: TeamId
    bot_user: UserId
    user_limit: UserLimit
    """On the requests to Omni."""
    events: JobEvents = field(default_factory=JobEvents)
    """What Omni tells of jobs by itself."""
    meter: Meter = UNMETERED


class Listener(Protocol):
    """One of Slack's doors."""

    def register(self, app: AsyncApp) -> None:
        """Tell Bolt what it listens to."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs, built and not yet started."""

    follower: Follower
    learning: Learning
    runner: Runner
    drawing: Drawing
    posting: Posting
    submitting: Submitting
    home_tabs: HomeTabs
    errands: Errands
    listeners: tuple[Listener, ...]

    def register(self, app: AsyncApp) -> None:
        """All that Slack can send; `manifest.yml` names the same."""
        for listener in self.listeners:
            listener.register(app)


def assemble(
    world: World, rules: Rules, edits: Gate, arrivals: Arrivals, run: Callable[[Follow], Runner]
) -> Parts:
    """Put the parts together. `run` makes the runner of the follow that is handed to it."""
    venues = Venues(world.directory, allow_shared=rules.access.allow_shared_channels)
    access = Gatekeeper(
        rules.access,
        people=world.people,
        venues=venues,
        omni_users=world.omni_users,
        watches=world.watches,
        asks=world.asks,
        now=world.now,
        user_limit=world.user_limit,
    )
    palette = Palette()
    drawing = Drawing(world.board, world.watches, edits, palette, world.meter)
    posting = Posting(world.board, world.now, palette)
    thread = Thread(
        watches=world.watches,
        posting=posting,
        uploading=Uploading(world.board, posting, world.now),
        now=world.now,
        tenant=rules.tenant,
        notify_after_seconds=rules.settings.notify_after_seconds,
    )
    cards = Cards(
        board=world.board,
        watches=world.watches,
        given_ups=world.given_ups,
        drawing=drawing,
        posting=posting,
        thread=thread,
        palette=palette,
        arrivals=arrivals,
        is_shared=venues.is_shared_now,
        now=world.now,
        tenant=rules.tenant,
        meter=world.meter,
    )
    learning = Learning(world.durations, world.now)
    follower = Follower(
        omni=world.omni,
        watches=world.watches,
        cards=cards,
        now=world.now,
        learning=learning,
        follow_for_seconds=rules.settings.max_follow_hours * 3_600.0,
        events=world.events,
    )
    runner = run(follower.follow)
    intents = Intents(world.asks, posting.steps, world.now)
    desk = Desk(
        omni=world.omni,
        board=world.board,
        watches=world.watches,
        asks=world.asks,
        intents=intents,
        given_ups=world.given_ups,
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
        access=access,
        tenant=rules.tenant,
        bot_user=world.bot_user,
    )
    submitting = Submitting(
        omni=world.omni,
        asking=world.asking,
        board=world.board,
        asks=world.asks,
        intents=intents,
        arrivals=arrivals,
        desk=desk,
        start=runner.start,
        steps=posting.steps,
        now=world.now,
        events=world.events,
    )
    ask_desk = AskDesk(
        omni=world.omni,
        watches=world.watches,
        asks=world.asks,
        access=access,
        destinations=Destinations(world.board, access, world.bot_user),
        cards=cards,
        submitting=submitting,
        now=world.now,
        default_model=rules.default_model,
    )
    home_tabs = HomeTabs(
        watches=world.watches,
        board=world.board,
        views=world.views,
        access=access,
        state_of=follower.state_of,
        team=world.team,
    )
    errands = Errands(world.whisper, world.views, world.board)
    handlers = Handlers(
        desk=desk,
        data_desk=data_desk,
        ask_desk=ask_desk,
        cancel_desk=CancelDesk(asking=world.asking, watches=world.watches, access=access, start=runner.start),
        access=access,
        is_shared=venues.is_shared_now,
        errands=errands,
        team=world.team,
    )
    modal_handlers = ModalHandlers(
        desk=desk,
        ask_desk=ask_desk,
        access=access,
        catalogue=Catalogue(
            asking=world.asking, asks=world.asks, now=world.now, default_model=rules.default_model
        ),
        views=world.views,
        errands=errands,
        team=world.team,
    )
    listeners = (
        handlers,
        modal_handlers,
        Shortcuts(desk, modal_handlers, errands, world.team),
        Mentions(desk, ask_desk, errands, team=world.team, bot_user=world.bot_user),
        home_tabs,
    )
    return Parts(follower, learning, runner, drawing, posting, submitting, home_tabs, errands, listeners)
