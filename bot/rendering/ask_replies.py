"""What is told privately about questions, cancellations and retries, as mrkdwn. `lines` tells of all the rest."""

from bot.domain import (
    AskRefused,
    CancelForbidden,
    ConversationBusy,
    JobId,
    JobNotFound,
    KeyRefused,
    Message,
    NotCancellable,
    OmniBusy,
    OmniError,
    UserId,
)
from bot.rendering import replies
from bot.rendering.blocks import section, try_again
from bot.rendering.markdown.mrkdwn import code

COMMAND = "/omni-ask"


def help_text() -> str:
    """How to ask."""
    return "\n".join(
        [
            "I ask Omni for you, and follow the job in one message that becomes the answer.",
            f"• `{COMMAND} &lt;question&gt;`: ask here.",
            f"• `{COMMAND} &lt;question&gt; private`: ask in your direct messages with me.",
            f"• `{COMMAND}`: choose a model and a topic first.",
            "• Mention me in a card's thread, or press *Ask a follow-up*: ask on from its answer.",
            "• Write to me directly: ask where only you read it.",
        ]
    )


# Asking


def usage() -> str:
    """Nothing was asked."""
    return f"Type a question after `{COMMAND}`, or the command alone to choose the model and more."


def no_model() -> str:
    """Nobody has said which model is to be asked."""
    return (
        f"I don't know which Omni model to ask. Type `{COMMAND}` alone to choose one; "
        "whoever operates the bot can set one for all."
    )


def refused(error: OmniError) -> str:
    """Omni did not take a question, and certainly nothing has begun."""
    match error:
        case AskRefused():
            return (
                "Omni does not take this question: the model or the topic is not there any more, or not for you. "
                f"Type `{COMMAND}` alone to choose another."
            )
        case ConversationBusy():
            return "Another question is being answered in that Omni chat. Please try again once it is."
        case _:
            return _omni_line(error)


def maybe_taken(question: str | None, *, private: bool = False) -> Message:
    """Nobody knows whether Omni has taken a question. `question`: where a button may ask it again. `private`: its card
    was to go to direct messages, and must with the button too."""
    text = (
        "Omni did not answer, so it may have taken your question or not. I don't ask twice by myself, since Omni would "
        "then work on it twice. Please look in Omni; if it is not there, ask again."
    )
    button = try_again(question, private=private) if question else []
    return Message(text, (section(text), *button) if button else ())


def retry_maybe_taken() -> str:
    """The same for a question that was asked again."""
    return (
        "Omni did not answer, so it may have taken the question or not. Please look in Omni; if it is not there, "
        "press *Retry* once more."
    )


def orphaned() -> str:
    """A question whose process ended before it knew what came of it."""
    return (
        "I was stopped while I was asking your question, and don't know what came of it: Omni may have taken it or "
        "not. Please look in Omni; if it is not there, ask again."
    )


def taken_but_not_stored(job: JobId) -> str:
    """Omni has taken a question, and the bot's database did not take that."""
    return (
        f"Omni has taken your question, but I can't reach my own storage. To follow it, type "
        f"`{replies.COMMAND}` and its id in a while: {code(job, 60)}."
    )


# Going on


def no_card_here() -> str:
    """The bot was mentioned in a thread that no card of it is in."""
    return f"I know no card in this thread that I could go on from. To ask something new, type `{COMMAND}`."


def no_conversation() -> str:
    """Omni does not say which chat a job belongs to."""
    return f"Omni does not tell me which chat this answer belongs to. To ask something new, type `{COMMAND}`."


def queued() -> str:
    """A follow-up while another question of that chat is being answered."""
    return (
        "Another question is still being answered in that Omni chat. Yours is asked right after it; "
        "should I be stopped before, you hear of it."
    )


def busy_again() -> str:
    """A follow-up that has waited for its turn, and did not get it."""
    return (
        "Your follow-up was not asked: there is still another question being answered in that Omni chat. "
        "Please ask again once it is."
    )


# Retrying


def already_retried(by: UserId | None) -> str:
    """The question has been asked again before."""
    return f"This was retried already{f' by <@{by}>' if by else ''}."


def not_retriable() -> str:
    """The job did not fail and was not cancelled, whatever the button says."""
    return "Only a job that failed or was cancelled can be retried."


# Cancelling


def cancelled() -> str:
    """Omni has cancelled the job."""
    return "The job is cancelled."


def stops_after_this_step() -> str:
    """Omni has taken the wish, and a worker is still at it."""
    return (
        "Omni stops after its current step. If that is the last one, the answer comes all the same; "
        "the card will show it."
    )


def had_ended() -> str:
    """There was nothing left to cancel."""
    return "The job had ended before it could be cancelled."


def not_cancelled(error: OmniError) -> str:
    """Omni did not cancel the job."""
    match error:
        case NotCancellable():
            return "Too late to cancel: Omni is delivering the answer already."
        case CancelForbidden():
            return (
                "Omni does not let this bot cancel that job: its key may only cancel what it has begun itself. "
                "Whoever asked, or an Omni admin, can do it in Omni."
            )
        case _:
            return _omni_line(error)


def cancel_unanswered() -> str:
    """Nobody knows whether Omni has cancelled the job."""
    return (
        "Omni did not answer, so the job may be cancelled or not; the card will show it. "
        "It does no harm to press the button again."
    )


def _omni_line(error: OmniError) -> str:
    match error:
        case JobNotFound():
            return replies.no_such_job()
        case KeyRefused():
            return replies.key_refused()
        case OmniBusy():
            return replies.omni_busy()
        case _:
            return replies.omni_down()
