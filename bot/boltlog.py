"""The log of Bolt and of Slack's SDK, which say on their own what must not stand in ours, or what we say better.

Bolt warns at every start that SLACK_BOT_TOKEN, which it reads by itself, is not used, and its warnings over OAuth hold
the code; the SDK tells of every lost connection, and at the debug level of every payload.
"""

import logging

QUIET = logging.getLogger("bot.bolt")
"""Hand this to whatever of theirs takes a logger."""
QUIET.setLevel(logging.ERROR)
