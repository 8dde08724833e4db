"""Evidence for the invariants: everything the simulated Slack and Omni saw, in order.

That is their messages, with all that these ever showed, and the requests that reached them. The bot's own tables are
looked at only for what is left open in them, for who was ever taken on, and at the moment of a kill, to tell whether it
came between Slack's taking a post and the commit that stores it.
"""

import math
from functools import cached_property

from bot.demo.slack.socket_mode import ACK_SECONDS
from bot.domain.cards import CardFailure
from bot.domain.jobs import JobId
from bot.rendering import ask_replies, replies
from tests.simulation.looks import FINAL
from tests.simulation.people import Asked, Delivery
from tests.simulation.posts import STORED_WITHIN_SECONDS, Posts, is_note
from tests.simulation.refusals import is_refusal
from tests.simulation.scenario import ASKING, FOLLOWING, JobPlan
from tests.simulation.wire import Exchange
from tests.simulation.world import BEGINNING, World

IN_FLIGHT_SECONDS = 40.0
"""For so long after a command its answer may still be on its way."""


class Seen(Posts):
    """The evidence, in order."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.plans = {job.id: job for job in world.scenario.jobs}

    def reply_to(self, asked: Asked) -> str | None:
        """The first private line that was sent in answer."""
        sent = self.slack.private_replies.get(asked.secret)
        return sent[0][1] if sent else None

    def has_heard(self, asked: Asked) -> bool:
        """Whether Slack has taken a private line since, in answer to it or to another command of the person's for the
        job: by its address, or otherwise where that was used up."""
        asks_like_it = [
            other for other in self.world.people.asked if other is asked or _is_for_the_same(asked, other)
        ]
        secrets = {other.secret for other in asks_like_it}
        texts = {line for secret in secrets for _, line in self.slack.private_replies.get(secret, ())}
        return any(
            exchange.done
            and (exchange.arrived_at or 0.0) >= asked.action.at
            and (
                exchange.args.get("secret") in secrets
                or (exchange.args.get("user") == asked.person and exchange.args.get("text") in texts)
                or (is_note(exchange) and exchange.args.get("text") in texts)
            )
            for exchange in self.world.wire.log
        )

    def is_remembered(self, asked: Asked) -> bool:
        """Whether the table held that the person follows, when they asked or later."""
        job = self.job_of(asked).id
        return any(
            self.world.followed.stood_there((job, place, asked.person), asked.action.at)
            for place in self.places_of(asked)
        )

    def was_notified_of_no_card(self, asked: Asked) -> bool:
        """Whether the bot tried to notify the user by direct message that there is no card."""
        texts = {replies.card_failed(why, JobId(self.job_of(asked).id)) for why in CardFailure}
        return self._was_sent_directly(asked, texts)

    def _was_notified_of_interruption(self, asked: Asked) -> bool:
        """Whether the bot sent a direct message that the command was cut off before its job was looked up."""
        job = self.job_of(asked)
        texts = {replies.interrupted(reference) for reference in (job.id, f"chat/{job.conversation}")}
        return self._was_sent_directly(asked, texts)

    def _was_sent_directly(self, asked: Asked, texts: set[str]) -> bool:
        direct = self.slack.workspace.direct(asked.person).id
        return any(
            exchange.name == "chat.postMessage"
            and exchange.args["channel"] == direct
            and exchange.args["text"] in texts
            and exchange.at > asked.action.at
            for exchange in self.world.wire.log
        )

    def is_unreachable(self, person: str) -> bool:
        """Whether the person's direct messages are, or were for a time, closed to the bot."""
        direct = self.slack.workspace.direct(person).id
        return person in self.slack.closed_to_bot or direct in self.world.people.ever_closed

    def is_acked(self, asked: Asked) -> bool:
        """Whether Slack did not show the user that the app did not respond."""
        return any(
            delivery.acked_at is not None and delivery.acked_at - delivery.at < ACK_SECONDS
            for delivery in asked.deliveries
        )

    def died_over(self, asked: Asked) -> bool:
        """Whether a process that was to answer ended before it had. To cancel, it waits for its turn to ask Omni
        however long that takes: late is better than never."""
        within = math.inf if asked.action.kind == "cancel" else IN_FLIGHT_SECONDS
        return any(
            delivery.ended_at is not None and self._ran_seconds(delivery, delivery.ended_at) < within
            for delivery in asked.deliveries
        )

    def _ran_seconds(self, delivery: Delivery, until: float) -> float:
        """For how long the process that got a delivery ran after it, pauses not counted."""
        paused = sum(
            max(0.0, min(until, ends) - max(delivery.at, begins))
            for process, begins, ends in self.world.pauses
            if process is delivery.process
        )
        return until - delivery.at - paused

    def may_be_unconfirmed(self, asked: Asked) -> bool:
        """Whether a post to where the card may be was left unanswered, or stored as tried by a process that died before
        it left, and the bot can't search for it."""
        may_look = self.world.scenario.history_scopes and asked.place not in self.world.people.ever_closed
        places = self.places_of(asked)
        job = self.job_of(asked).id
        died_over = any(
            self.is_uncertain(card) or card.deleted_by_bot
            for place in places
            for card in self.cards[job, place]
        )
        unanswered = any(
            exchange.name == "chat.postMessage"
            and self._is_in_doubt(exchange)
            and exchange.args["channel"] in places
            for exchange in self.world.wire.log
        )
        never_left = any(at > asked.action.at for at in self.world.ended_at.values())
        return not may_look and (died_over or unanswered or never_left)

    def _is_in_doubt(self, exchange: Exchange) -> bool:
        """Whether the bot got no answer, or was killed before it could store what it said."""
        if exchange.answered_at is None or exchange.process is None:
            return True
        ended_at = self.world.ended_at.get(exchange.process, math.inf)
        return ended_at - exchange.answered_at < STORED_WITHIN_SECONDS

    def was_notified_unconfirmed(self, asked: Asked) -> bool:
        """Whether the user was notified, or should have been, that the card is unconfirmed."""
        job = self.job_of(asked).id
        return asked.person in self.slack.closed_to_bot or any(
            other.person == asked.person and self.job_of(other).id == job and self._heard_unconfirmed(other)
            for other in self.world.people.asked
        )

    def _heard_unconfirmed(self, asked: Asked) -> bool:
        note = replies.unconfirmed_card(JobId(self.job_of(asked).id))
        # The user who typed the job's id already knows it; the user who asked has never seen it.
        if any(
            line in (replies.unconfirmed_card(), note)
            for _, line in self.slack.private_replies.get(asked.secret, ())
        ):
            return True
        direct = self.slack.workspace.direct(asked.person).id
        return any(
            exchange.args.get("channel") == direct and exchange.args.get("text") == note
            for exchange in self.world.wire.log
        )

    def job_of(self, asked: Asked) -> JobPlan:
        """The job that was meant."""
        return self.world.scenario.jobs[asked.action.job]

    def places_of(self, asked: Asked) -> tuple[str, str]:
        """Where the card may be: the place itself, and the person's direct message with the bot."""
        return asked.place, self.slack.workspace.direct(asked.person).id

    def seconds(self, unix: float) -> float:
        """A time of Slack's as seconds since the beginning."""
        return unix - BEGINNING

    @cached_property
    def commands(self) -> list[Asked]:
        """The commands of which a card is to come, and that were acknowledged."""
        return [
            asked
            for asked in self.world.people.asked
            if asked.action.kind in FOLLOWING and self.is_acked(asked)
        ]

    @cached_property
    def accepted(self) -> list[Asked]:
        """Those whose follow the bot has taken on."""
        return [asked for asked in self.commands if self._is_accepted(asked)]

    def _is_accepted(self, asked: Asked) -> bool:
        if asked.action.kind in ASKING:
            return self.job_of(asked).id in self.world.omni.jobs and not self.heard_of_question(asked)
        reply = self.reply_to(asked)
        if reply is not None:
            # Where Omni was slow, the outcome follows by direct message.
            return not is_refusal(reply) and not self.was_notified_of_no_card(asked)
        if self.was_notified_of_no_card(asked) or self._was_notified_of_interruption(asked):
            return False
        if self._was_answered_by_a_later_command(asked):
            return False
        if not self.died_over(asked):
            return True
        if self.is_remembered(asked) and not self.is_unreachable(asked.person):
            return True
        # Its process died over it. Everything visible by then counts.
        ended = min(d.ended_at for d in asked.deliveries if d.ended_at is not None)
        return any(
            card.exchange.answered_at is not None and asked.action.at <= card.exchange.answered_at <= ended
            for card in self.cards[self.job_of(asked).id, asked.place]
            if not self.is_uncertain(card)
        )

    def _was_answered_by_a_later_command(self, asked: Asked) -> bool:
        """Whether the person gave the same command again before the bot could say what became of it, and then heard
        that Omni has no such job: nothing is left to report."""
        later = [
            other
            for other in self.commands
            if _is_for_the_same(asked, other)
            and other.place == asked.place
            and other.action.at > asked.action.at
        ]
        return any(self.reply_to(other) == replies.no_such_job() for other in later)

    def heard_of_question(self, asked: Asked) -> bool:
        """Whether the user was notified that a question failed or is uncertain."""
        reply = self.reply_to(asked)
        if reply is not None and is_refusal(reply):
            return True
        # It is tried once; a user with closed direct messages can't be notified.
        is_tried = self._was_sent_directly(asked, {ask_replies.interrupted()})
        return is_tried or (asked.person in self.slack.closed_to_bot and self.died_over(asked))

    def left(self, asked: Asked) -> bool:
        """Whether the person has, or may have, stopped following since."""
        return any(
            click.action.kind == "stop"
            and click.person == asked.person
            and click.place in self.places_of(asked)
            and click.card_job == self.job_of(asked).id
            and click.action.at > asked.action.at - IN_FLIGHT_SECONDS
            for click in self.world.people.asked
        )

    @cached_property
    def staying(self) -> list[Asked]:
        """The accepted commands of people who certainly never stopped following, and can be reached."""
        return [asked for asked in self.accepted if not self.left(asked) and not self._is_cut_off(asked)]

    def _is_cut_off(self, asked: Asked) -> bool:
        """Whether the bot was shut out of the place, and of the person's direct messages too, if only for a time."""
        workspace, ever_closed = self.slack.workspace, self.world.people.ever_closed
        is_member = workspace.bot.id in workspace.channels[asked.place].members
        is_direct_closed = workspace.direct(asked.person).id in ever_closed
        return (asked.place in ever_closed or not is_member) and (
            asked.person in self.slack.closed_to_bot or is_direct_closed
        )

    def right_looks(self, job: JobPlan, *, since: float) -> set[str]:
        """The looks that a card of the job may have at the end. `since`: when it was asked for."""
        omni = self.world.omni
        known = omni.jobs.get(job.id)
        if known is None:
            ended = {look for look in FINAL if job.id in omni.removed and self._ended_before_it_vanished(job)}
            # A card of such a job exists only where Omni was silent at first. Then the 360 s for which a job is
            # followed here may be over before Omni has said for 5 minutes that it does not know it (seed 900035).
            return {"missing", "paused", *ended}
        moment = known.moment(self.world.now())
        right = set()
        ends_at = known.created_at + moment.since_seconds if known.is_final(self.world.now()) else None
        if ends_at is not None:
            right.add({"COMPLETE": "answered", "FAILED": "failed", "CANCELLED": "cancelled"}[moment.state])
        if ends_at is None or self.seconds(ends_at) - since > self.world.scenario.max_follow_seconds - 70.0:
            right.add("paused")
        if self.was_denied(job):
            right.add("unknown")
        return right

    def _ended_before_it_vanished(self, job: JobPlan) -> bool:
        return any(
            exchange.outcome in ("COMPLETE", "FAILED", "CANCELLED")
            for exchange in self.world.wire.log
            if exchange.name.endswith(job.id)
        )

    def was_denied(self, job: JobPlan) -> bool:
        """Whether Omni has ever said that it knows no such job."""
        return job.id in self.world.omni.denied

    def was_chat_denied(self, job: JobPlan) -> bool:
        """Whether Omni has ever said that it knows no such chat."""
        return job.conversation in self.world.omni.denied

    def ends_at(self, job: JobPlan) -> float | None:
        """When the job ended in Omni; None if it did not, or is gone."""
        known = self.world.omni.jobs.get(job.id)
        if known is None or not known.is_final(self.world.now()):
            return None
        return self.seconds(known.created_at + known.moment(self.world.now()).since_seconds)


def _is_for_the_same(asked: Asked, other: Asked) -> bool:
    mine, others = asked.action, other.action
    return (asked.person, mine.job) == (other.person, others.job) and {mine.kind, others.kind} <= set(
        FOLLOWING
    )
