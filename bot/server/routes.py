"""All that is answered on `PORT`: there from the first moment, and each closed until what it leads to is there."""

from aiohttp import web
from slack_bolt.async_app import AsyncApp

from bot.clock import wall_now
from bot.domain import TeamId
from bot.server.health import Health, HealthInputs
from bot.server.metrics import MetricsEndpoint, PrometheusMetrics
from bot.server.omni_webhooks import Inside, WebhookEndpoint
from bot.server.slack_events import SlackEvents
from bot.settings import Settings
from bot.slack import Apps, Dispatcher, EventSource
from bot.storage import SqlQuestionLookup
from bot.workspaces import OAuth, SharedResources, Workspaces, now


class Routes:
    """Slack's in HTTP mode, Omni's, that of whoever installs the app, and those of whoever supervises the bot."""

    def __init__(self, settings: Settings) -> None:
        token = settings.metrics_token
        self.metrics = PrometheusMetrics()
        self.dispatch = Dispatcher(self._app_of)
        self.http = _http_mode(settings, self.dispatch)
        """None in Socket Mode."""
        self.oauth = OAuth() if settings.slack_client_id else None
        """None where the settings name the one workspace."""
        self.health = Health()
        self._exposition = MetricsEndpoint(
            token.get_secret_value() if token else None, self.metrics, self.health
        )
        self._webhooks = WebhookEndpoint(wall_now, self.metrics)
        self._apps: Apps | None = None

    def routes(self) -> list[web.RouteDef]:
        """What is answered."""
        slack = self.http.routes() if self.http is not None else []
        installing = self.oauth.routes() if self.oauth is not None else []
        supervising = [*self.health.routes(), *self._exposition.routes()]
        return [*supervising, *self._webhooks.routes(), *slack, *installing]

    def open(
        self, common: SharedResources, workspaces: Workspaces, apps: Apps, delivery: EventSource
    ) -> None:
        """Lead to what is there now. `apps`: whose Bolt app gets what Slack delivers."""
        self._apps = apps
        sharing = common.processes
        self._webhooks.inside = Inside(
            common.webhook_secret, SqlQuestionLookup(common.transactions), sharing.switchboard.tell
        )
        self.health.vitals = HealthInputs(
            is_connected=delivery.is_connected,
            refused=workspaces.refused,
            is_anybody_following=sharing.runners.is_any_process_alive,
            transactions=common.transactions,
            now=now,
        )
        self._exposition.read, self._exposition.count = workspaces.readings, workspaces.count_jobs

    async def _app_of(self, team: TeamId) -> AsyncApp | None:
        return None if self._apps is None else await self._apps(team)


def _http_mode(settings: Settings, dispatch: Dispatcher) -> SlackEvents | None:
    if settings.app_token or settings.slack_signing_secret is None:
        return None
    return SlackEvents(dispatch, settings.slack_signing_secret.get_secret_value())
