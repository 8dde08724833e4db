"""The bot's posts in the simulated Slack, and what the bot can know about them."""

from collections import defaultdict
from functools import cached_property

from bot.demo.slack.files import StoredFile
from tests.simulation.looks import is_card, job_of, mark_of
from tests.simulation.slackside import Posted
from tests.simulation.wire import Exchange
from tests.simulation.world import World

STORED_WITHIN_SECONDS = 1.0
"""By when a process that goes on has stored what came of a request."""


class Posts:
    """The cards and replies of a world, with all that they ever showed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.slack = world.slack

    @cached_property
    def cards(self) -> dict[tuple[str, str], list[Posted]]:
        """All cards by job and channel, in the order in which they came. The cards of a question that was asked more
        often than planned stand under the planned job."""
        planned = self.world.omni.repeated
        cards = defaultdict(list)
        for posted in self.slack.posted.values():
            if _is_card(posted):
                job = job_of(posted.looks[-1])
                cards[planned.get(job, job), posted.channel].append(posted)
        return cards

    @cached_property
    def replies(self) -> dict[tuple[str, str], list[Posted]]:
        """All thread replies by channel and the ts of their card, which may be a reply in the same thread."""
        replies = defaultdict(list)
        newest: dict[tuple[str, str, str], str] = {}
        for posted in self.slack.posted.values():
            thread = _thread_of(posted)
            if _is_card(posted):
                newest[thread] = posted.ts
            elif posted.thread is not None and not posted.deleted_by_bot and not posted.files:
                replies[posted.channel, newest.get(thread, posted.thread)].append(posted)
        return replies

    def notices(self, card: Posted) -> list[Posted]:
        """Completion replies of a card."""
        return [reply for reply in self.replies[card.channel, card.ts] if is_notice(reply.looks[0].text)]

    def continuation(self, card: Posted) -> list[Posted]:
        """The replies in which a card's answer goes on."""
        return [reply for reply in self.replies[card.channel, card.ts] if not is_notice(reply.looks[0].text)]

    def files(self, card: Posted) -> list[StoredFile]:
        """The files in the thread that a card is in or begins; also those of other cards there."""
        there = card.channel, card.thread or card.ts
        shared = [each for each in self.slack.posted.values() if (each.channel, each.thread) == there]
        return [file for each in shared for file in each.files]

    @cached_property
    def reply_tries(self) -> dict[tuple[str, str, str], list[Exchange]]:
        """All requests to post a thread reply, by channel, thread and the id of the card."""
        tries = defaultdict(list)
        for exchange in self.world.wire.log:
            args = exchange.args
            if exchange.name != "chat.postMessage" or not args.get("thread_ts"):
                continue
            mark = mark_of(args.get("metadata"))
            if not is_card(mark, args["text"]):
                tries[args["channel"], args["thread_ts"], mark.partition("/")[0]].append(exchange)
        return tries

    def has_unanswered_reply(self, card: Posted, *, notice: bool) -> bool:
        """Whether a try of a notice, or of another reply, was left unanswered, and the bot can't search for it."""
        return not self.world.scenario.history_scopes and any(
            exchange.answered_at is None and is_notice(exchange.args["text"]) == notice
            for exchange in self.reply_tries[_thread_of(card)]
        )

    def was_died_over(self, reply: Posted) -> bool:
        """Whether a process died before it stored a reply that the bot can't search for, or was paused during it for so
        long that it counted as dead."""
        return self.is_uncertain(reply) and (reply.is_doubtful or self.was_paused_over(reply.exchange))

    def was_paused_over(self, exchange: Exchange, *, until: float = 0.0) -> bool:
        """Whether its process paused before it had stored what came of a request, and was paused at least until then,
        in seconds since the beginning."""
        return any(
            process is exchange.process
            and 0.0 <= begins - exchange.at < STORED_WITHIN_SECONDS
            and ends > until
            for process, begins, ends in self.world.pauses
        )

    def is_lost_by_pause(self, card: Posted) -> bool:
        """Whether its process was paused over posting it, so that another may have taken the job over, and the bot
        can't search for it."""
        may_look = self.world.scenario.history_scopes and card.channel not in self.world.people.ever_closed
        return not may_look and self.was_paused_over(card.exchange)

    def is_uncertain(self, posted: Posted) -> bool:
        """Whether this post can't be known without history scopes."""
        unknown = posted.is_doubtful or posted.exchange.answered_at is None
        may_look = self.world.scenario.history_scopes and posted.channel not in self.world.people.ever_closed
        return unknown and not may_look

    def is_out_of_reach(self, posted: Posted) -> bool:
        """Whether the card is gone, or closed to the bot."""
        return posted.deleted_at is not None or posted.written_off or self.is_uncertain(posted)

    def was_overtaken_for_good(self, card: Posted) -> bool:
        """Whether its last look is of an edit that lay about while its process stood still, and that process died
        before it could find out that another had shown the end meanwhile."""
        last = card.looks[-1].exchange
        return last is not None and last.held_until > 0.0 and last.process in self.world.ended_at


def _is_card(posted: Posted) -> bool:
    return is_card(mark_of(posted.exchange.args.get("metadata")), posted.looks[0].text)


def _thread_of(posted: Posted) -> tuple[str, str, str]:
    """The channel, the thread that a message is in or begins, and the id of its card."""
    card_id = mark_of(posted.exchange.args.get("metadata")).partition("/")[0]
    return posted.channel, posted.thread or posted.ts, card_id


def is_note(exchange: Exchange) -> bool:
    """Whether it posts no card and no reply, but a line for one person in their direct messages."""
    return exchange.name == "chat.postMessage" and "/told" in str(exchange.args.get("metadata"))


def is_notice(text: str) -> bool:
    """Whether a reply reports the end, and is not a continuation of the answer."""
    return text.startswith("<@")
