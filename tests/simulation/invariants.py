"""Invariants that hold at the end of every seed. `judged` collects the evidence."""

from collections import Counter
from collections.abc import Callable, Iterator
from math import inf

from bot.ratelimit import EDITS_AT_ONCE, EDITS_PER_MINUTE, REQUESTS_AT_ONCE
from bot.rendering import replies
from bot.slack.messages import TIMEOUT_SECONDS
from tests.simulation.charts import charts_are_of_answers, charts_are_shown_once, charts_come_soon
from tests.simulation.continuation import the_answer_goes_on_once
from tests.simulation.judged import Seen
from tests.simulation.looks import FINAL, LEFT_ALONE, look_of
from tests.simulation.lookups import a_busy_slack_is_waited_for
from tests.simulation.owners import followers_stay, only_the_requester_acts, the_first_requester_stays
from tests.simulation.questions import questions_are_asked_once, whoever_asks_hears
from tests.simulation.replies import the_end_is_reported_once
from tests.simulation.scenario import ASKING, FOLLOWING, JobPlan
from tests.simulation.slackside import Look, Posted
from tests.simulation.world import World

SHOWN_WITHIN_SECONDS = 100.0
"""How long a card may lag behind in fair weather, with the smallest budgets."""


def broken_invariants(world: World) -> list[str]:
    """Every invariant that does not hold, with what broke it."""
    seen = Seen(world)
    return [f"{name}: {what}" for name, judge in INVARIANTS.items() for what in judge(seen)]


def _answered(seen: Seen) -> Iterator[str]:
    """Everybody hears: each acknowledged command led to a private line, or to a card in its place. A line may be lost
    where nothing was taken on; what the table holds may not."""
    for asked in seen.world.people.asked:
        kind = asked.action.kind
        if kind == "help" or kind in ASKING or not seen.is_acked(asked) or seen.has_heard(asked):
            continue
        if kind in FOLLOWING and any(seen.cards[seen.job_of(asked).id, at] for at in seen.places_of(asked)):
            continue
        if kind in FOLLOWING and seen.is_remembered(asked) and not seen.left(asked):
            if not (seen.was_notified_of_no_card(asked) or seen.is_unreachable(asked.person)):
                yield f"{asked.person} is forgotten, who had {asked.action} taken on"
        elif seen.reply_to(asked) is None and not seen.died_over(asked):
            yield f"{asked.person} heard nothing of {asked.action}"


def _not_broken(seen: Seen) -> Iterator[str]:
    """No user gets the message that the bot is broken."""
    for sent in seen.slack.private_replies.values():
        yield from (line for _, line in sent if line == replies.broken())


def _one_right_card(seen: Seen) -> Iterator[str]:
    """Every accepted follow has its card in the right final form."""
    for asked in seen.staying:
        job = seen.job_of(asked)
        right = seen.right_looks(job, since=asked.action.at)
        if "unknown" in right:
            right.add("missing")
        cards = [card for place in seen.places_of(asked) for card in seen.cards[job.id, place]]
        if seen.may_be_unconfirmed(asked) and seen.was_notified_unconfirmed(asked):
            continue
        shown = [look_of(look) for card in cards for look in card.looks]
        if not right & set(shown):
            yield f"{asked.person} follows {job.id[:8]} in {asked.place}, {sorted(right)} expected, cards show {shown}"
        elif not _is_lasting(seen, cards, right):
            yield f"the card of {job.id[:8]} in {asked.place} for {asked.person} does not stay right: {shown}"


def _is_lasting(seen: Seen, cards: list[Posted], right: set[str]) -> bool:
    """Whether some card that reached a right look still has one, or was taken from the bot after that."""
    return any(
        look_of(card.looks[-1]) in right
        or (card.written_off and any(look_of(look) in right for look in card.looks))
        or seen.was_overtaken_for_good(card)
        for card in cards
    )


def _one_card(seen: Seen) -> Iterator[str]:
    """No job has two cards in one place, unless a person deleted the first or the bot could not reach it."""
    for (job, channel), cards in seen.cards.items():
        if channel in seen.world.people.ever_closed:
            continue  # its end may have been reported in direct messages, and the channel forgotten
        kept = [card for card in cards if not seen.is_out_of_reach(card)]
        if len(kept) > 1:
            yield f"{len(kept)} cards of {job[:8]} in {channel}: {[card.ts for card in kept]}"


def _in_its_thread(seen: Seen) -> Iterator[str]:
    """A card is a reply in a thread in which it was asked for, or at the top level if it was asked for there."""
    for (job, channel), cards in seen.cards.items():
        threads = {
            asked.thread
            for asked in seen.world.people.asked
            if asked.action.kind in FOLLOWING and seen.job_of(asked).id == job and asked.place == channel
        } or {None}
        for card in cards:
            if card.thread not in threads:
                yield f"card {card.ts} of {job[:8]} in {channel} is in thread {card.thread}, not in one of {threads}"


def _no_orphan(seen: Seen) -> Iterator[str]:
    """No card is left that says that the job runs, no follow is left open, and no card is anybody's but those
    who asked."""
    for row in seen.world.disk.rows.execute("SELECT job, channel, card FROM watches WHERE closed_at IS NULL"):
        yield f"open follow {row}"
    for (job, channel), cards in seen.cards.items():
        if job not in seen.plans:
            yield f"a card of no job in {channel}: {cards[-1].looks[-1].text[:60]!r}"
            continue
        for card in cards:
            is_left = (
                seen.is_out_of_reach(card) or seen.was_overtaken_for_good(card) or seen.is_lost_by_pause(card)
            )
            if not is_left and look_of(card.looks[-1]) == "running":
                yield f"card {card.ts} of {job[:8]} in {channel} still says {card.looks[-1].text[:60]!r}"
        if not any(
            asked.action.kind in FOLLOWING
            and seen.job_of(asked).id == job
            and channel in seen.places_of(asked)
            for asked in seen.world.people.asked
        ):
            yield f"nobody asked for a card of {job[:8]} in {channel}"


def _right_looks_only(seen: Seen) -> Iterator[str]:
    """No card says of its job what is not so."""
    for (job, channel), cards in seen.cards.items():
        plan = seen.plans.get(job)
        for card in cards if plan else ():
            yield from _wrong_looks(seen, plan, card, channel)  # type: ignore[arg-type]


def _wrong_looks(seen: Seen, plan: JobPlan, card: Posted, channel: str) -> Iterator[str]:
    right = seen.right_looks(plan, since=seen.seconds(card.looks[0].at))
    for look in card.looks:
        shown = look_of(look)
        if shown in FINAL and shown not in right:
            if shown == "missing" and "unknown" in right and "Omni does not know" in look.text:
                continue
            yield f"card {card.ts} of {plan.id[:8]} in {channel} shows {shown!r}, right is {sorted(right)}"
        word = "" if _is_forgotten(seen, plan, look) else _word(plan)
        if shown in ("answered", "failed") and word and word not in f"{look.text} {look.blocks}":
            yield f"card {card.ts} of {plan.id[:8]} in {channel} does not show its job's answer"


def _word(plan: JobPlan) -> str | None:
    end = plan.script.end
    text = getattr(end, "markdown", None) or getattr(end, "message", None)
    return plan.token if text and plan.cancelled_at is None else None


def _is_forgotten(seen: Seen, plan: JobPlan, look: Look) -> bool:
    """Whether a card that had to be drawn again says that Omni no longer has what it showed, which is so."""
    return plan.id in seen.world.omni.removed and "Omni no longer has the" in look.text


def _final_is_final(seen: Seen) -> Iterator[str]:
    """No edit follows the final one, except by another final one, or by one of another process that had left before
    the final one was shown; then the final one is shown again, if that process lived to say so. Where the final one's
    process is still paused over it, or got no answer, another one that finds the job gone, or rests, may say that."""
    for cards in seen.cards.values():
        for card in cards:
            final: Look | None = None
            for number, look in enumerate(card.looks, start=1):
                shown = look_of(look)
                if final is not None and shown != look_of(final):
                    if _crossed(seen, final, look) and _is_mended(seen, card, number):
                        continue
                    if shown in ("missing", "paused") and _is_unstored(seen, final, look):
                        continue
                    yield f"card {card.ts} in {card.channel} shows {shown!r} after {look_of(final)!r}"
                    break
                came_late = number > 1 and _crossed(seen, card.looks[number - 2], look)
                if shown in FINAL and shown != "missing" and not (look.is_doubtful or came_late):
                    final = look


def _crossed(seen: Seen, sooner: Look, later: Look) -> bool:
    """Whether the later edit had left another process before the other one was shown: it could not be recalled."""
    sent, sent_before = later.exchange, sooner.exchange
    return (
        sent is not None
        and sent_before is not None
        and sent.process is not sent_before.process
        and sent.at < seen.seconds(sooner.at)
    )


def _is_unstored(seen: Seen, final: Look, later: Look) -> bool:
    """Whether the final look's process was still paused over its edit when the later look was shown, or got no answer
    in time, so that it can't know whether the edit was taken."""
    sent = final.exchange
    if sent is None:
        return False
    is_unknown = sent.answered_at is None or sent.answered_at - sent.at > TIMEOUT_SECONDS
    return is_unknown or seen.was_paused_over(sent, until=seen.seconds(later.at))


def _is_mended(seen: Seen, card: Posted, number: int) -> bool:
    """Whether the card shows the end again after a late edit, the last but so many."""
    return (
        any(look_of(look) in FINAL for look in card.looks[number:])
        or seen.was_overtaken_for_good(card)
        or seen.is_out_of_reach(card)
    )


def _unfollowed_if_so(seen: Seen) -> Iterator[str]:
    """A card says that it has no followers only if they stopped following."""
    stopped = {
        (click.card_job, click.place)
        for click in seen.world.people.asked
        if click.action.kind == "stop" and click.deliveries
    }
    for (job, channel), cards in seen.cards.items():
        for card in cards:
            if any(look_of(look) == LEFT_ALONE for look in card.looks) and (job, channel) not in stopped:
                yield f"card {card.ts} of {job[:8]} in {channel} says that nobody follows"


def _followed_is_shown(seen: Seen) -> Iterator[str]:
    """A card stops saying that it has no followers when it has one again."""
    scenario = seen.world.scenario
    calm = max(
        [front.ends for front in scenario.fronts] + [upset.at + 60.0 for upset in scenario.upsets] + [0.0]
    )
    for asked in seen.staying:
        for card in seen.cards[seen.job_of(asked).id, asked.place]:
            if seen.is_out_of_reach(card):
                continue
            ends = [look.at for look in card.looks[1:]] + [seen.world.now()]
            for look, end in zip(card.looks, ends, strict=True):
                if look_of(look) == LEFT_ALONE:
                    since = max(asked.action.delivered_by, calm, seen.seconds(look.at))
                    if seen.seconds(end) - since > SHOWN_WITHIN_SECONDS:
                        yield f"{asked.person} follows {card.ts}, which says from {since:.0f} s that nobody does"


def _budgets(seen: Seen) -> Iterator[str]:
    """No 60 seconds hold more requests than allowed, nor more edits. A clock that is set may forget what was
    spent, which lets one more burst through, and once more when the next process starts, which goes by it (seed
    900446)."""
    scenario = seen.world.scenario
    steps = [at for at, _ in scenario.clock_steps]
    starts = [min((at for at in seen.world.machine.started_at if at > step), default=inf) for step in steps]
    omni = [e.at for e in seen.world.wire.log if e.service == "omni"]
    edits = [e.at for e in seen.world.wire.log if e.name == "chat.update"]
    for what, times, limit, burst in (
        ("requests to Omni", omni, scenario.requests_per_minute, REQUESTS_AT_ONCE),
        ("edits", edits, EDITS_PER_MINUTE, EDITS_AT_ONCE),
    ):
        first = 0
        for last, at in enumerate(times):
            while at - times[first] >= 60.0:
                first += 1
            forgotten = sum(times[first] - 60.0 <= forgets <= at for forgets in {*steps, *starts})
            if last - first + 1 > limit + burst * forgotten:
                yield f"{last - first + 1} {what} in the 60 s before {at:.3f}, allowed are {limit}"
                break


def _payloads(seen: Seen) -> Iterator[str]:
    """Slack understands all that it is sent."""
    wrong = {
        "invalid_blocks",
        "invalid_arguments",
        "msg_too_long",
        "msg_blocks_too_long",
        "no_text",
        "invalid_metadata_format",
        "unknown_method",
        "invalid_thread_ts",
        "cannot_reply_to_message",
        "cant_delete_message",
        "used_url",
    }
    for exchange in seen.world.wire.log:
        if exchange.outcome in wrong:
            yield f"{exchange.name} is refused: {exchange.outcome}"


def _true_denials(seen: Seen) -> Iterator[str]:
    """A user is notified that a job does not exist only if Omni said so."""
    for asked in seen.world.people.asked:
        meant = seen.job_of(asked)
        job = meant.again or meant
        is_chat = asked.action.kind == "chat"
        is_denied = seen.was_denied(job) or seen.was_denied(meant)
        is_true = not job.exists or is_denied or (is_chat and seen.was_chat_denied(job))
        if seen.reply_to(asked) == replies.no_such_job() and not is_true:
            yield f"{asked.person} gets the reply that {job.id[:8]} does not exist"


def _answered_once(seen: Seen) -> Iterator[str]:
    """A delivery that Slack repeats to one process is answered once."""
    answers: Counter[tuple[str, int]] = Counter()
    for exchange in seen.world.wire.log:
        if exchange.done and exchange.status == 200 and exchange.answered_at is not None:
            if exchange.service == "whisper":
                answers[exchange.args["secret"], id(exchange.process)] += 1
            elif exchange.name == "chat.postEphemeral" and exchange.args.get("thread_ts"):
                answers[exchange.args["thread_ts"], id(exchange.process)] += 1
    yield from (f"{count} answers to {secret}" for (secret, _), count in answers.items() if count > 1)


def _no_false_lead(seen: Seen) -> Iterator[str]:
    """Nobody is sent to a card in direct messages that are closed to the bot."""
    for asked in seen.world.people.asked:
        reply = seen.reply_to(asked) or ""
        if " to your DMs." in reply and asked.person in seen.slack.closed_to_bot:
            yield f"{asked.person} gets the reply that the card is in closed direct messages"


def _nothing_left_running(seen: Seen) -> Iterator[str]:
    """When all is done, nothing is left running in the process."""
    for running in seen.world.machine.running:
        names = [task.get_name() for task in seen.world.machine.tasks_of(running.process)]
        left = [name for name in names if name.split()[0] in ("follow", "look", "tend", "edit")]
        if left:
            yield f"{running.process.name} still runs {left}"


INVARIANTS: dict[str, Callable[[Seen], Iterator[str]]] = {
    "everybody hears": _answered,
    "no reply reports a defect": _not_broken,
    "every accepted follow has its right final card": _one_right_card,
    "each question is asked once": questions_are_asked_once,
    "whoever asks hears": whoever_asks_hears,
    "one card per job and place": _one_card,
    "cards are in their threads": _in_its_thread,
    "no orphan": _no_orphan,
    "no card says what is not so": _right_looks_only,
    "no edit after the final one": _final_is_final,
    "nobody is taken off": _unfollowed_if_so,
    "who follows is shown to": _followed_is_shown,
    "the first requester stays": the_first_requester_stays,
    "followers stay": followers_stay,
    "only the requester acts": only_the_requester_acts,
    "a busy Slack is waited for": a_busy_slack_is_waited_for,
    "the end is reported once": the_end_is_reported_once,
    "the answer goes on once": the_answer_goes_on_once,
    "charts are of answers": charts_are_of_answers,
    "charts are shown once": charts_are_shown_once,
    "charts come soon": charts_come_soon,
    "no window over a budget": _budgets,
    "Slack understands": _payloads,
    "no job is denied": _true_denials,
    "answered once": _answered_once,
    "nobody is sent astray": _no_false_lead,
    "nothing is left running": _nothing_left_running,
}
