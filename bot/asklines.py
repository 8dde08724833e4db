"""What is told privately about questions, cancellations and retries, as mrkdwn. As `lines`, which tells of the rest."""

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
