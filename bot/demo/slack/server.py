"""The simulated Slack's side of the wire: one loopback port for Web API, response_urls and Socket Mode."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from bot.demo.faults import Faults, Serve, Unanswered, meet
from bot.demo.slack.http_mode import RequestUrl
from bot.demo.slack.limits import Limits
from bot.demo.slack.oauth import OAuth
from bot.demo.slack.response_urls import ResponseUrls
from bot.demo.slack.socket_mode import SocketMode
from bot.demo.slack.web_api import dispatch
from bot.demo.slack.web_api.call import Answer, Call, Refused
from bot.demo.slack.web_api.dispatch import Read, read, read_upload
from bot.demo.slack.workspace import Workspace

LARGEST_BODY_BYTES = 64 * 1024 * 1024
"""Of one request, an upload for instance. Slack accepts files of 1 GB, which are not needed here."""


@dataclass(slots=True)
class Request:
    """One request to the Web API or to a response_url, from its arrival on."""

    at: float
    method: str
    """The Web API method, "response_url", or "upload" for the bytes of a file."""
    args: dict[str, Any]
    """As sent, without the token."""
    ok: bool = False
    """Whether it took effect; also true where its answer was lost on purpose."""
    error: str | None = None
    http_status: int | None = None
    """The response; None without one."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask for what. Changed in place while the service runs."""

    tokens: dict[str, str]
    """Token to kind: "bot", "app" or "revoked"."""
    scopes: set[str]


class SlackServer:
    """Serves a workspace from `start` to `close`."""

    def __init__(
        self,
        workspace: Workspace,
        access: Access,
        *,
        now: Callable[[], float],
        limits: Limits | None,
        announce: Callable[[dict[str, Any]], None],
        changed: Callable[[], None],
    ) -> None:
        self.faults = Faults()
        self.requests: list[Request] = []
        self.socket_mode = SocketMode(workspace.app, changed)
        self.request_url = RequestUrl()
        self.response_urls = ResponseUrls(workspace)
        self.oauth = OAuth(workspace, now, self._install)
        self._workspace = workspace
        self._access = access
        self._now = now
        self._limits = limits
        self._announce = announce
        self._runner: web.AppRunner | None = None

    async def start(self, port: int) -> None:
        """Listen on 127.0.0.1; port 0 is any free one. The workspace's address follows.

        Raises:
            OSError: the port is taken.
        """
        app = web.Application(client_max_size=LARGEST_BODY_BYTES)
        app.router.add_route("*", "/api/{method}", self._serve_api)
        app.router.add_post("/response/{secret}", self._serve_response_url)
        app.router.add_post("/upload/v1/{secret}", self._serve_upload)
        app.router.add_get("/files/{file}/{name}", self._serve_file)
        app.router.add_get("/oauth/v2/authorize", self._serve_authorize)
        app.router.add_get("/link", self._serve_socket)
        app.router.add_get("/archives/{channel}/{message}", self._serve_archive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        host, bound = self._runner.addresses[0][:2]
        self._workspace.url = f"http://{host}:{bound}/"

    async def close(self) -> None:
        """Close every connection and stop listening."""
        await self.socket_mode.close()
        await self.request_url.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve_api(self, request: web.Request) -> web.StreamResponse:
        body = await read(request)
        record = self._record(request.match_info["method"], body)

        async def serve() -> web.StreamResponse:
            headers = self._scope_headers(body.token)
            try:
                answer = self._answer(record.method, body)
            except Refused as refused:
                record.error = refused.error
                if refused.retry_after is None:
                    return web.json_response(refused.body(), headers=headers)
                headers["Retry-After"] = str(refused.retry_after)
                return web.json_response(refused.body(), status=429, headers=headers)
            record.ok = True
            return web.json_response(answer, headers=headers)

        return await self._through_faults(record, request, serve)

    def _answer(self, method: str, body: Read) -> Answer:
        if body.error is not None:
            raise Refused(body.error)
        if method == "oauth.v2.access":
            return self.oauth.exchange(body.client, body.args)
        scopes = frozenset(self._access.scopes)
        call = Call(self._workspace, body.args, scopes, self._limits, self._now(), self._socket_url)
        return dispatch.answer(method, body.token, self._access.tokens, call)

    def _install(self) -> str:
        token = f"xoxb-demo-{secrets.token_hex(12)}"
        self._access.tokens[token] = "bot"
        return token

    def _scope_headers(self, token: str | None) -> dict[str, str]:
        """Slack returns the token's scopes with every response."""
        if token is None or self._access.tokens.get(token) != "bot":
            return {}
        return {"x-oauth-scopes": ",".join(sorted(self._access.scopes))}

    async def _serve_response_url(self, request: web.Request) -> web.StreamResponse:
        body = await read(request)
        record = self._record("response_url", body)

        async def serve() -> web.StreamResponse:
            try:
                if body.error is not None:
                    raise Refused(body.error)
                self.response_urls.use(request.match_info["secret"], body.args, self._now())
            except Refused as refused:
                record.error = refused.error
                status = 404 if refused.error in ("used_url", "expired_url") else 400
                return web.json_response(refused.body(), status=status)
            record.ok = True
            return web.json_response({"ok": True})

        return await self._through_faults(record, request, serve)

    def _record(self, method: str, body: Read) -> Request:
        record = Request(self._now(), method, body.args)
        self.requests.append(record)
        return record

    async def _through_faults(
        self, record: Request, request: web.Request, serve: Serve
    ) -> web.StreamResponse:
        try:
            response = await meet(self.faults.take(record.method), request, serve)
            if not isinstance(response, Unanswered):
                record.http_status = response.status
        finally:
            self._announce(
                {
                    "kind": "request",
                    "method": record.method,
                    "ok": record.ok,
                    "error": record.error,
                    "http_status": record.http_status,
                }
            )
        return response

    def _socket_url(self) -> str:
        address = self._workspace.url.replace("http", "ws", 1)
        return f"{address}link?ticket={self.socket_mode.ticket()}&app_id={self._workspace.app}"

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        return await meet(self.faults.take("socket"), request, lambda: self.socket_mode.serve(request))

    async def _serve_upload(self, request: web.Request) -> web.StreamResponse:
        """The bytes of a promised file. The address is the key to it: no token belongs here."""
        content = await read_upload(request)
        record = self._record("upload", Read(None, {"length": len(content)}))

        async def serve() -> web.StreamResponse:
            try:
                if "Authorization" in request.headers:
                    raise ValueError("the token was sent along")
                self._workspace.files.receive(request.match_info["secret"], content)
            except LookupError:
                record.error = "not_found"
                return web.Response(status=404)
            except ValueError as error:
                record.error = "bad_request"
                return web.Response(status=400, text=str(error))
            record.ok = True
            return web.Response(text=f"OK - {len(content)}")

        return await self._through_faults(record, request, serve)

    async def _serve_file(self, request: web.Request) -> web.StreamResponse:
        file = self._workspace.files.by_id.get(request.match_info["file"])
        if file is None or file.content is None:
            raise web.HTTPNotFound
        # The page shows pictures; anything else is downloaded, regardless of its type.
        disposition = "inline" if file.is_image else "attachment"
        headers = {"Content-Disposition": disposition, "X-Content-Type-Options": "nosniff"}
        return web.Response(body=file.content, content_type=file.mimetype, headers=headers)

    async def _serve_authorize(self, request: web.Request) -> web.StreamResponse:
        """Slack's page with *Allow*; here opening the page grants the authorization."""
        installer = next(user.id for user in self._workspace.users.values() if not user.is_bot)
        try:
            raise web.HTTPFound(self.oauth.allow(request.query, installer))
        except Refused as refused:
            return web.Response(status=400, text=refused.error)

    async def _serve_archive(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text="In Slack, this address opens the message.")
