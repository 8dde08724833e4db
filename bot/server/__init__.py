"""The HTTP server on PORT: health, metrics, Slack's events, Omni's webhooks, the API, installation."""

from bot.server.routes import Routes
from bot.server.slack_events import PATH
