"""Which private lines say that nothing came of a command."""

from bot import accesslines, asklines, lines
from bot.ask import AskRefused

_REFUSALS = {
    lines.no_such_job(),
    lines.chat_without_job(),
    lines.key_refused(),
    lines.omni_down(),
    lines.omni_busy(),
    lines.storage_down(),
    lines.unconfirmed_card(),
    lines.restarting(),
    lines.slack_busy(),
    accesslines.not_known(),
    accesslines.slack_is_slow(),
    asklines.maybe_taken(None).text,
    asklines.refused(AskRefused("")),
    asklines.retry_maybe_taken(),
    asklines.not_retriable(),
    accesslines.not_yours(),
    lines.nothing_to_show_here(),
}


def is_refusal(line: str) -> bool:
    """Whether a private line says that nothing, or nothing certain, came of a command."""
    return line in _REFUSALS or any(
        part in line
        for part in (
            "can't post here or in your direct messages",
            "Type the id",
            "Omni has taken your question, but",
            "was retried already",
        )
    )
