"""Every modal and Home tab of the bot, with its golden file in `tests/data/views/`.

After a deliberate change, rewrite the files: `uv run python -m tests.support.golden_views`.
"""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

from bot.domain.cards import CardId, ChannelId, ChannelRef, MessageTs, Notify, TeamId
from bot.domain.jobs import JobId, JobState
from bot.domain.questions import Model, ModelId
from bot.rendering import home_tab, modals, replies
from bot.rendering.home_tab import Followed
from bot.rendering.modals import ModelOptions
from tests.support.golden import CARD, NOW
from tests.support.paths import DATA

FOLDER = DATA / "views"
RENEW = "After a deliberate change, rewrite the files: uv run python -m tests.support.golden_views"
HERE = ChannelRef(TeamId("T0ACME"), ChannelId("C0DATA"))
DIRECT = ChannelRef(TeamId("T0ACME"), ChannelId("D0ADA"))
SHOP = Model(ModelId("770e8400-e29b-41d4-a716-446655440002"), "Shop")
WAREHOUSE = Model(
    ModelId("880e8400-e29b-41d4-a716-446655440003"), "Warehouse, with returns and everything " * 3
)
CHOICES = ModelOptions((SHOP, WAREHOUSE), SHOP.id, ("order_items", "users"))
MANY = tuple(Model(ModelId(f"model {number}"), f"Model {number}") for number in range(150))
LINK = "https://acme.slack.com/archives/C0DATA/p1"


def followed(number: int, state: JobState | None, *, ended: bool = False) -> Followed:
    channel = HERE.id if number % 2 else DIRECT.id
    card = replace(
        CARD,
        id=CardId(f"card {number}"),
        job=JobId(f"job {number}"),
        channel=ChannelRef(HERE.team, channel),
    )
    if ended:
        card = replace(card, closed_at=NOW - timedelta(minutes=number), outcome=state)
    return Followed(card, None if ended else state, LINK if number % 3 else None)


ENDS = (JobState.COMPLETE, JobState.FAILED, JobState.CANCELLED, None)
VIEWS: dict[str, dict[str, Any]] = {
    "ask_loading": modals.ask(HERE, ModelOptions(is_loading=True), prompt="Top products?"),
    "ask": modals.ask(HERE, CHOICES),
    "ask_by_admin": modals.ask(HERE, CHOICES, is_admin=True),
    "ask_without_topics": modals.ask(HERE, replace(CHOICES, topics=(), model=WAREHOUSE.id)),
    "ask_without_a_choice": modals.ask(None, ModelOptions((SHOP, WAREHOUSE))),
    "ask_of_many": modals.ask(HERE, ModelOptions(MANY, MANY[-1].id, tuple(f"topic {n}" for n in range(150)))),
    "ask_with_trouble": modals.ask(None, ModelOptions(trouble="Omni can't list its models right now.")),
    "ask_refused": modals.refused(replies.not_for_you()),
    "explain_rating": modals.explain_rating(CARD.id, HERE, MessageTs("1.1")),
    "follow_up": modals.follow_up(CARD.id, HERE, MessageTs("1.1"), MessageTs("1.1")),
    "follow_job": modals.follow_job(),
    "remove": modals.remove(CARD.id, HERE, MessageTs("1.1")),
    "share": modals.share(CARD.id, HERE, MessageTs("1.1")),
    "home_empty": home_tab.home((), (), notify=Notify.ALWAYS, notify_after_seconds=30.0),
    "home": home_tab.home(
        [followed(number, state) for number, state in enumerate([*JobState, None])],
        [followed(number, state, ended=True) for number, state in enumerate(ENDS)],
        notify=Notify.FAILURES,
        notify_after_seconds=30.0,
    ),
    "home_full": home_tab.home(
        [followed(number, JobState.EXECUTING) for number in range(40)],
        [followed(number, JobState.COMPLETE, ended=True) for number in range(40)],
        notify=Notify.NEVER,
        notify_after_seconds=0.0,
    ),
    "home_refused": home_tab.refused(replies.not_for_you()),
}


def as_json(view: dict[str, Any]) -> str:
    return json.dumps(view, indent=2, ensure_ascii=False) + "\n"


def write() -> None:
    """Write a file for every view, and remove the other files."""
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.glob("*.json"):
        file.unlink()
    for name, view in VIEWS.items():
        (FOLDER / f"{name}.json").write_text(as_json(view), encoding="utf-8")


if __name__ == "__main__":
    write()
