"""The private lines: kind, without secrets, and with what to do next."""

from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

from bot import accesslines, lines
from bot.demo.payload import judge
from bot.errors import JobNotFound, OmniBusy
from bot.job import JobId
from bot.watch import ChannelId, NoCard, Place, TeamId, UserId, Watch, WatchId

BOT = UserId("U0BOT")
CARD = "https://acme.slack.com/archives/C0DATA/p1"

CHAT = "https://acme.omniapp.co/chat/1"


def watch(channel: str = "C0DATA") -> Watch:
    return Watch(
        id=WatchId("7d0f3c1e-8a51-4f2b-9a6e-0d7b0a9c5e11"),
        job=JobId("550e8400-e29b-41d4-a716-446655440000"),
        place=Place(TeamId("T0ACME"), ChannelId(channel)),
        requester=UserId("U0ADA"),
        followers=(UserId("U0ADA"),),
        asked_at=datetime(2026, 5, 4, 14, 2, tzinfo=UTC),
    )


JOB = JobId("550e8400-e29b-41d4-a716-446655440000")
ALL = {
    "help": lines.help_text(),
    "usage": lines.usage(),
    "usage with a reason": lines.usage("That is not an Omni job id."),
    "already followed": lines.already_followed(CARD),
    "already followed, no card yet": lines.already_followed(None),
    "moved": lines.moved_to_dm(CARD, BOT),
    "moved, no card yet": lines.moved_to_dm(None, BOT),
    "nowhere": lines.not_allowed_anywhere(BOT),
    "no such job": lines.no_such_job(),
    "chat without job": lines.chat_without_job(),
    "key refused": lines.key_refused(),
    "omni down": lines.omni_down(),
    "omni busy": lines.omni_busy(),
    "busy": lines.busy(),
    "storage down": lines.storage_down(),
    "nothing to follow": lines.nothing_to_follow(),
    "not looked up": lines.not_looked_up(JobNotFound("404")),
    "slack busy": lines.slack_busy(),
    "not for you": accesslines.not_for_you(),
    "not here": accesslines.not_here(),
    "not known": accesslines.not_known(),
    "slack is slow": accesslines.slack_is_slow(),
    "too many requests": accesslines.too_many_requests(),
    "cannot know": accesslines.cannot_know(),
    "not yours": accesslines.not_yours(),
    "no Omni user": accesslines.no_omni_user(),
    "too many follows": accesslines.too_many_follows(25),
    "too many asks": accesslines.too_many_asks(30),
    "kept private": accesslines.kept_private(CARD, BOT),
    "kept private, no card yet": accesslines.kept_private(None, BOT),
    "sent privately": accesslines.sent_privately(CARD),
    "sent privately, no card yet": accesslines.sent_privately(None),
    "not shown where shared": accesslines.not_shown_where_shared(),
    "unconfirmed": lines.unconfirmed_card(),
    **{f"given up: {why.name}": lines.given_up(why, JOB) for why in NoCard},
    "card is late": lines.card_is_late(),
    "broken": lines.broken(),
    "unfollowed": lines.unfollowed(0),
    "not following": lines.not_following(),
    "resumed": lines.resumed(),
    "not resumable": lines.not_resumable(),
    "nothing to show here": lines.nothing_to_show_here(),
    "already shown": lines.already_shown(CARD),
    "already shown somewhere": lines.already_shown(None),
    "no result": lines.not_fetched(JobNotFound("404")),
    "result busy": lines.not_fetched(OmniBusy("429")),
    "no data": lines.nothing_found(True),
    "no steps": lines.nothing_found(False),
    "data pending": lines.data_pending(),
    "data pending in part": lines.data_pending_in_part(),
    "not shown here": lines.not_shown_here(BOT, CHAT),
    "no files here": lines.no_files_here(CHAT),
    "no files here, no link": lines.no_files_here(None),
    "slack down": lines.slack_down(CHAT),
    "unconfirmed in the thread": lines.unconfirmed_in_thread(),
    "restarting": lines.restarting(),
    "interrupted": lines.interrupted(JOB),
    "follows nothing": lines.follows([]),
    "follows": lines.follows([(watch(), CARD), (watch("D0ADA"), None)]),
    "follows many": lines.follows([(watch(), CARD)] * 300),
}


@pytest.mark.parametrize("name", ALL)
def test_slack_takes_every_line_and_none_shouts(name: str) -> None:
    assert judge(ALL[name], None) is None
    assert "!" not in ALL[name].replace("<!date", "")


def test_the_reason_comes_before_what_to_type() -> None:
    assert ALL["usage with a reason"] == f"That is not an Omni job id. {lines.usage()}"


def test_help_names_every_command() -> None:
    assert all(f"`/omni-job {word}`" in ALL["help"] for word in ("&lt;id&gt;", "list", "help"))


@pytest.mark.parametrize("name", ["already followed", "moved", "follows"])
def test_the_card_is_linked_where_its_address_is_known(name: str) -> None:
    assert f"<{CARD}|" in ALL[name]


def test_whoever_has_no_card_here_is_told_how_to_invite_the_bot() -> None:
    assert "`/invite` <@U0BOT>" in ALL["moved"] and "`/invite` <@U0BOT>" in ALL["nowhere"]


@pytest.mark.parametrize(
    "left, words", [(0, "nobody else does"), (1, "One other person"), (3, "3 others still follow")]
)
def test_whoever_stops_hears_whether_the_card_lives_on(left: int, words: str) -> None:
    assert words in lines.unfollowed(left)


def test_whoever_comes_too_late_to_resume_is_told_what_to_type() -> None:
    assert "`/omni-job`" in ALL["not resumable"] and "id on the card" in ALL["not resumable"]


def test_follows_are_listed_with_place_and_time() -> None:
    first, second, third = ALL["follows"].split("\n")
    assert first == "You follow these running jobs:"
    assert "`550e8400-e29b-41d4-a716-446655440000` in <#C0DATA>, asked <!date^" in second
    assert "in direct messages" in third


def test_a_long_list_is_cut_and_says_so() -> None:
    assert ALL["follows many"].endswith("and 280 more.")


@pytest.mark.parametrize("module", [lines, accesslines], ids=["lines", "accesslines"])
def test_every_line_is_looked_at_here(module: ModuleType) -> None:
    made = {name for name, made in vars(module).items() if getattr(made, "__module__", "") == module.__name__}
    said = Path(__file__).read_text("utf-8")
    name_of = module.__name__.removeprefix("bot.")
    assert [name for name in sorted(made) if name[0] != "_" and f" {name_of}.{name}(" not in said] == []
