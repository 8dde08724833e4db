"""HTTP routes on `PORT`. They are served from startup; each responds with 503 until its backend is ready."""

from functools import partial

from aiohttp import web
from slack_bolt.async_app import AsyncApp

from bot.clock import wall_now
from bot.domain import TeamId
from bot.server.follows_api import Announce, ApiContext, FollowsApi
from bot.server.health import Health, HealthInputs
from bot.server.metrics import MetricsEndpoint, PrometheusMetrics
from bot.server.omni_webhooks import WebhookContext, WebhookEndpoint
from bot.server.slack_events import SlackEvents
from bot.settings import Settings
from bot.slack import Apps, Dispatcher, EventSource
from bot.storage import SqlQuestionLookup
from bot.workspaces import OAuth, SharedResources, Workspaces, now


class Routes:
    """All routes: Slack's in HTTP mode, Omni's webhooks, OAuth, the API, health and metrics."""

    def __init__(self, settings: Settings) -> None:
        token = settings.metrics_token
        self.metrics = PrometheusMetrics()
        self.dispatcher = Dispatcher(self._app_of)
        self.http = _http_mode(settings, self.dispatcher)
        """None in Socket Mode."""
        self.oauth = OAuth() if settings.slack_client_id else None
        """None with a single workspace."""
        self.health = Health()
        self._metrics_endpoint = MetricsEndpoint(
            token.get_secret_value() if token else None, self.metrics, self.health
        )
        self._webhooks = WebhookEndpoint(wall_now, self.metrics)
        self._api = FollowsApi(settings.api_token.get_secret_value() if settings.api_token else None)
        self._apps: Apps | None = None

    def routes(self) -> list[web.RouteDef]:
        """Return all routes."""
        slack = self.http.routes() if self.http is not None else []
        installing = self.oauth.routes() if self.oauth is not None else []
        supervising = [*self.health.routes(), *self._metrics_endpoint.routes()]
        return [*supervising, *self._webhooks.routes(), *self._api.routes(), *slack, *installing]

    def open(
        self, resources: SharedResources, workspaces: Workspaces, apps: Apps, event_source: EventSource
    ) -> None:
        """Connect the routes to the started bot. `apps` finds the Bolt app of a workspace."""
        self._apps = apps
        processes = resources.processes
        self._webhooks.context = WebhookContext(
            resources.webhook_secret,
            SqlQuestionLookup(resources.transactions).get,
            processes.switchboard.tell,
        )
        self._api.context = ApiContext(lambda: workspaces.teams, partial(_announce_in, workspaces))
        self.health.inputs = HealthInputs(
            connection=event_source.problem,
            workspaces=workspaces.problem,
            refused=workspaces.refused,
            is_tracking=processes.runners.is_any_process_alive,
            transactions=resources.transactions,
            now=now,
        )
        self._metrics_endpoint.read, self._metrics_endpoint.count = workspaces.readings, workspaces.count_jobs

    async def _app_of(self, team: TeamId) -> AsyncApp | None:
        return None if self._apps is None else await self._apps(team)


async def _announce_in(workspaces: Workspaces, team: TeamId) -> Announce | None:
    workspace = await workspaces.of(team)
    return None if workspace is None else workspace.components.announcements.announce


def _http_mode(settings: Settings, dispatcher: Dispatcher) -> SlackEvents | None:
    if settings.app_token or settings.slack_signing_secret is None:
        return None
    return SlackEvents(dispatcher, settings.slack_signing_secret.get_secret_value())
