"""The private replies have no secrets and say what to do next."""

from dataclasses import replace
from datetime import UTC, datetime
from inspect import isfunction
from pathlib import Path
from types import ModuleType

from bot.demo.slack.block_kit.messages import judge
from bot.domain.cards import Card, CardFailure, CardId, ChannelId, ChannelRef, TeamId, UserId
from bot.domain.errors import JobNotFound, OmniBusy
from bot.domain.jobs import JobId
from bot.rendering import answer_replies, refusal_replies, replies
from bot.rendering.refusal_replies import RefusedPost
from tests.support.tables import for_each

BOT = UserId("U0BOT")
CARD = "https://acme.slack.com/archives/C0DATA/p1"

CHANNEL = ChannelId("C0DATA")

CHAT = "https://acme.omniapp.co/chat/1"


def a_card(channel: str = "C0DATA") -> Card:
    return Card(
        id=CardId("7d0f3c1e-8a51-4f2b-9a6e-0d7b0a9c5e11"),
        job=JobId("550e8400-e29b-41d4-a716-446655440000"),
        channel=ChannelRef(TeamId("T0ACME"), ChannelId(channel)),
        requester=UserId("U0ADA"),
        followers=(UserId("U0ADA"),),
        requested_at=datetime(2026, 5, 4, 14, 2, tzinfo=UTC),
    )


THERE = ChannelRef(TeamId("T0ACME"), ChannelId("C0DATA"))
CODES = ["", "not_in_channel", "is_archived", "restricted_action", "team_access_not_granted", "odd*code"]
REFUSED = [
    RefusedPost(code, replace(THERE, id=ChannelId(id_)), BOT) for code in CODES for id_ in ("C0", "D0")
]
JOB = JobId("550e8400-e29b-41d4-a716-446655440000")
ALL = {
    "help": replies.help_text(),
    "usage": replies.usage(),
    "usage with a reason": replies.usage("That is not an Omni job id."),
    "already followed": replies.already_followed(CARD),
    "already followed, no card yet": replies.already_followed(None),
    "moved": refusal_replies.moved_to_dm(RefusedPost("not_in_channel", THERE, BOT)),
    **{f"moved: {post.code} {post.channel.id}": refusal_replies.moved_to_dm(post) for post in REFUSED},
    **{
        f"nowhere: {post.code} {post.channel.id}": refusal_replies.not_allowed_anywhere(post)
        for post in REFUSED
    },
    "no such job": replies.no_such_job(),
    "chat without job": replies.chat_without_job(),
    "key refused": replies.key_refused(),
    "omni down": replies.omni_down(),
    "omni busy": replies.omni_busy(),
    "busy": replies.busy(),
    "storage down": replies.storage_down(),
    "nothing to follow": replies.nothing_to_follow(),
    "not looked up": replies.not_looked_up(JobNotFound("404")),
    "slack busy": replies.slack_busy(),
    "not for you": replies.not_for_you(),
    "not here": replies.not_here(),
    "identity unavailable": replies.identity_unavailable(),
    "identity timeout": replies.identity_timeout(),
    "too many requests": replies.too_many_requests(),
    "identity scope missing": replies.identity_scope_missing(),
    "not yours": replies.not_yours(),
    "no Omni user": replies.no_omni_user(),
    "too many follows": replies.too_many_follows(25),
    "too many questions": replies.too_many_questions(30),
    "kept private": replies.kept_private(CARD),
    "kept private, no card yet": replies.kept_private(None),
    "sent privately": replies.sent_privately(CARD),
    "sent privately, no card yet": replies.sent_privately(None),
    "not shown where shared": replies.not_shown_where_shared(),
    "unconfirmed": replies.unconfirmed_card(),
    **{f"card failed: {why.name}": replies.card_failed(why, JOB) for why in CardFailure},
    "card is late": replies.card_is_late(),
    "broken": replies.broken(),
    "unfollowed": replies.unfollowed(0),
    "not following": replies.not_following(),
    "resumed": replies.resumed(),
    "not shown in link only": replies.not_shown_in_link_only(),
    "joined": replies.joined(),
    "followed before": replies.followed_before(),
    "too late to follow": replies.too_late_to_follow(),
    "not resumable": replies.not_resumable(),
    "nothing to show here": replies.nothing_to_show_here(),
    "already shown": replies.already_shown(CARD),
    "already shown somewhere": replies.already_shown(None),
    "no result": replies.not_fetched(JobNotFound("404")),
    "result busy": replies.not_fetched(OmniBusy("429")),
    "no data": replies.nothing_found(True),
    "no steps": replies.nothing_found(False),
    "data pending": replies.data_pending(),
    "data pending in part": replies.data_pending_in_part(),
    **{
        f"not shown: {post.code} {post.channel.id}": refusal_replies.not_shown_here(post, CHAT)
        for post in REFUSED
    },
    "no files here": refusal_replies.no_files_here(CHAT),
    "no files here, no link": refusal_replies.no_files_here(None),
    "slack down": refusal_replies.slack_down(CHAT),
    "unconfirmed in the thread": replies.unconfirmed_in_thread(),
    "restarting": replies.restarting(),
    "interrupted": replies.interrupted(JOB),
    "interrupted share": replies.interrupted(f"{answer_replies.SHARED}{JOB}"),
    "removed": answer_replies.removed(0),
    "removed in part": answer_replies.removed(2),
    "removing": answer_replies.removing(),
    "removed before": answer_replies.removed_before(),
    "not removable": answer_replies.not_removable(),
    "shared": answer_replies.shared(CHANNEL, CARD),
    "shared, no link": answer_replies.shared(CHANNEL, None),
    "shared as a link": answer_replies.shared(CHANNEL, CARD, is_link_only=True),
    "shared before": answer_replies.shared_before(CHANNEL, CARD),
    "shared before, no link": answer_replies.shared_before(CHANNEL, None),
    "not shared": answer_replies.not_shared(CHANNEL, answer_replies.readable_by_others()),
    "not shareable": answer_replies.not_shareable(),
    "answer gone": answer_replies.answer_gone(),
    "not both members": answer_replies.not_both_members(BOT),
    "members unknown": answer_replies.members_unknown(),
    "share interrupted": answer_replies.interrupted(),
    **{f"share refused: {code}": answer_replies.refused_there(code, BOT) for code in CODES},
    "no direct messages": refusal_replies.no_direct_messages("user_disabled"),
    "feedback is off": answer_replies.feedback_is_off(),
    "rated": answer_replies.rated(is_new=True),
    "rated before": answer_replies.rated(is_new=False),
    "reason passed on": answer_replies.reason_passed_on(),
    "reason not passed on": answer_replies.reason_not_passed_on(),
    "follows nothing": replies.follows([]),
    "follows": replies.follows([(a_card(), CARD, "Why did\n*sales* drop?"), (a_card("D0ADA"), None, None)]),
    "follows many": replies.follows([(a_card(), CARD, None)] * 300),
    "follows many questions": replies.follows([(a_card(), CARD, "_*~ " * 100)] * 300),
}


@for_each("name", ALL)
def test_slack_accepts_every_reply(name: str) -> None:
    assert judge(ALL[name], None) is None
    assert "!" not in ALL[name].replace("<!date", "")


def test_reason_comes_before_usage() -> None:
    assert ALL["usage with a reason"] == f"That is not an Omni job id. {replies.usage()}"


def test_help_names_every_command() -> None:
    assert all(f"`/omni-job {word}`" in ALL["help"] for word in ("&lt;id&gt;", "list", "help"))


@for_each("name", ["already followed", "kept private", "follows"])
def test_known_card_is_linked(name: str) -> None:
    assert f"<{CARD}|" in ALL[name]


def test_reply_says_how_to_invite_bot() -> None:
    assert "`/invite` <@U0BOT>" in ALL["moved"] and "`/invite` <@U0BOT>" in ALL["nowhere: not_in_channel C0"]


@for_each(
    "code, words",
    [
        ("not_in_channel", "I'm not in this channel"),
        ("channel_not_found", "I'm not in this channel"),
        ("is_archived", "This channel is archived"),
        ("restricted_action", "An admin restricts who can post here"),
        ("restricted_action_thread_locked", "An admin restricts who can post here"),
        ("ekm_access_denied", "An admin restricts who can post here"),
        ("team_access_not_granted", "(`team_access_not_granted`)"),
        ("", "I can't post here"),
    ],
)
def test_refused_post_says_why(code: str, words: str) -> None:
    refused = RefusedPost(code, THERE, BOT)
    texts = [
        refusal_replies.moved_to_dm(refused),
        refusal_replies.not_allowed_anywhere(refused),
        refusal_replies.not_shown_here(refused, CHAT),
    ]
    assert all(words in text for text in texts)
    invites = [text for text in texts if "/invite" in text]
    assert invites == (texts if words.startswith("I'm not") else [])


@for_each("left, words", [(0, "no one else does"), (1, "One other person"), (3, "3 others still follow")])
def test_unfollow_reply_counts_other_followers(left: int, words: str) -> None:
    assert words in replies.unfollowed(left)


def test_late_resume_reply_names_the_command() -> None:
    assert "`/omni-job`" in ALL["not resumable"] and "id on the card" in ALL["not resumable"]


def test_list_has_channel_and_time() -> None:
    first, second, third = ALL["follows"].split("\n")
    assert first == "You follow these running jobs:"
    assert "`550e8400-e29b-41d4-a716-446655440000` in <#C0DATA>, asked <!date^" in second
    assert "in DMs" in third


def test_listed_question_is_one_plain_line() -> None:
    assert f"• Why did *\u200bsales*\u200b drop? · `{JOB}` in " in ALL["follows"]
    assert f"• `{JOB}` in DMs" in ALL["follows"]


def test_long_list_is_cut() -> None:
    assert ALL["follows many"].endswith("and 280 more.")
    *listed, last = ALL["follows many questions"].splitlines()
    assert last == f"and {300 - len(listed) + 1} more." and len(listed) > 10


@for_each("module", [replies, answer_replies, refusal_replies])
def test_every_reply_is_in_this_table(module: ModuleType) -> None:
    made = {
        name for name, made in vars(module).items() if isfunction(made) and made.__module__ == module.__name__
    }
    called = Path(__file__).read_text("utf-8")
    name_of_module = module.__name__.rpartition(".")[2]
    assert [
        name for name in sorted(made) if name[0] != "_" and f" {name_of_module}.{name}(" not in called
    ] == []
