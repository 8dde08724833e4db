"""Client of Slack's Web API, its payloads, and both ways in which its events arrive."""

from bot.slack.directory import WebApiDirectory
from bot.slack.dispatch import NOT_CONNECTED, QUIET, Apps, Dispatcher, EventSource
from bot.slack.messages import (
    Identity,
    WebApiMessages,
    blocks_problem,
    identify,
    may_connect,
    slack_client,
    slack_session,
    teams_of,
)
from bot.slack.payloads import (
    ButtonClick,
    IncomingMessage,
    channel_of_command,
    channel_of_message,
    click,
    incoming_message,
    shown_in,
    thread_of_message,
    trigger_of,
    user_of,
)
from bot.slack.scopes import (
    EMAIL_SCOPE,
    FILES_SCOPE,
    HISTORY_SCOPES,
    MENTION_SCOPES,
    OPTIONAL_SCOPES,
    REQUIRED_SCOPES,
    VENUE_SCOPES,
)
from bot.slack.socket_mode import SocketMode, connect
from bot.slack.views import WebApiViews, reply_to_response_url
