"""The API of the simulated Omni: every path that it has, as strict as the documented one.

Shapes, codes and texts: Omni's OpenAPI document (github.com/exploreomni/cli, api/openapi.json) and the
pages under docs.omni.co/api, which alone describe the conversations and the cancel of a DELIVERING job.
"""

from aiohttp import web
from aiohttp.typedefs import Handler

from bot.demo.omni.conversations import conversations_page
from bot.demo.omni.jobs import SimulatedJob
from bot.demo.omni.lists import models_page, topics_list, user_resource, users_page
from bot.demo.omni.organization import ORGANIZATION, Key, Member, Refusal
from bot.demo.omni.state import OmniWorld
from bot.demo.omni.submissions import read_submission, uuid
from bot.demo.omni.timeline import timestamp

_WITH_PROBLEMS = "/api/v1/ai/"
"""Below it, every refusal has a body; elsewhere Omni documents none."""


class Api:
    """Answers requests out of the world, and changes it as they ask."""

    def __init__(self, world: OmniWorld) -> None:
        self._world = world

    def add_routes(self, app: web.Application) -> None:
        """Every path."""
        job = "/api/v1/ai/jobs/{job}"
        app.router.add_post("/api/v1/ai/jobs", self._submit)
        app.router.add_get(job, self._status, allow_head=False)
        app.router.add_post(f"{job}/cancel", self._cancel)
        app.router.add_get(f"{job}/result", self._result, allow_head=False)
        app.router.add_get(f"{job}/vis", self._visualization, allow_head=False)
        app.router.add_get("/api/v1/ai/conversations", self._conversations, allow_head=False)
        app.router.add_get("/api/v1/ai/conversations/{conversation}", self._conversation, allow_head=False)
        app.router.add_get("/api/v1/models", self._models, allow_head=False)
        app.router.add_get("/api/v1/models/{model}/topic", self._topics, allow_head=False)
        app.router.add_get("/api/v1/whoami", self._whoami, allow_head=False)
        app.router.add_get("/api/v1/users/{user}/model-roles", self._model_roles, allow_head=False)
        app.router.add_get("/api/scim/v2/{users:[Uu]sers}", self._users, allow_head=False)
        app.router.add_get("/api/scim/v2/{users:[Uu]sers}/{user}", self._user, allow_head=False)

    async def serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request, or say why not."""
        if self._world.key(request.headers.get("Authorization")) is None:
            return _refused(request, 401, "Missing or invalid API key.")
        try:
            return await handler(request)
        except Refusal as refusal:
            return _refused(request, refusal.status, refusal.detail)
        except web.HTTPException as refusal:
            return problem(refusal.status, refusal.reason)

    # Jobs.

    async def _submit(self, request: web.Request) -> web.Response:
        asked = read_submission(await request.read())
        user_id = request.query.get("userId")
        asker = self._world.organization.asker(
            self._key(request), None if user_id is None else uuid(user_id, "user")
        )
        self._world.organization.check_model(asked.model_id, asked.topic, asked.branch_id)
        if asked.conversation_id is not None:
            self._check_conversation(asked.conversation_id, asker)
        script, data = self._world.course(asked.prompt)
        job_id = self._world.add(
            script,
            prompt=asked.prompt,
            topic=asked.topic,
            branch_id=asked.branch_id,
            conversation_id=asked.conversation_id,
            model_id=asked.model_id,
            user_id=asker,
            data=data,
        )
        job = self._world.jobs[job_id]
        if asked.hook is not None:
            self._world.hooked(job, asked.hook)
        body = {"jobId": job.id, "conversationId": job.conversation_id, "omniChatUrl": job.chat_url}
        return web.json_response(body, status=201)

    def _check_conversation(self, conversation_id: str, asker: str) -> None:
        """One active job at a time. That a conversation has to be there already is an assumption."""
        jobs = [job for job in self._world.jobs.values() if job.conversation_id == conversation_id]
        if not jobs or (self._world.chats_are_private and jobs[0].user_id != asker):
            raise Refusal(404, "Conversation not found")
        if any(not job.is_final(self._world.now()) for job in jobs):
            raise Refusal(409, "Active job exists for conversation")

    async def _status(self, request: web.Request) -> web.Response:
        job = self._job(request)
        return web.Response(body=job.status(self._world.now()), content_type="application/json")

    async def _cancel(self, request: web.Request) -> web.Response:
        job = self._job(request)
        key = self._key(request)
        if not self._world.organization.may_cancel(key, job.user_id):
            raise Refusal(403, "Permission denied")
        if job.moment(self._world.now()).state == "DELIVERING":
            raise Refusal(400, "Job is not in a cancellable state")
        job.cancel(self._world.now(), key.member)
        return web.json_response({"jobId": job.id, "state": job.moment(self._world.now()).state})

    async def _result(self, request: web.Request) -> web.Response:
        result = self._job(request).result(self._world.now())
        if result is None:
            raise Refusal(404, "Job results not yet available")
        # One JSON document, but live tenants send it with this type, unlike the specification.
        return web.Response(body=result, content_type="application/octet-stream")

    async def _visualization(self, request: web.Request) -> web.Response:
        job = self._job(request)
        if not self._world.draws or not job.has_result(self._world.now()):
            raise Refusal(404, "Job not found")
        if job.data.picture is None:
            return web.json_response({"error": job.data.why_no_picture}, status=422)
        return web.Response(body=job.data.picture, content_type="image/png")

    async def _conversations(self, request: web.Request) -> web.Response:
        world = self._world
        body = conversations_page(
            world.jobs.values(), request.query, self._key(request), world.listing, world.now()
        )
        return web.json_response(body)

    async def _conversation(self, request: web.Request) -> web.Response:
        conversation_id = uuid(request.match_info["conversation"], "conversation")
        jobs = [job for job in self._world.jobs.values() if job.conversation_id == conversation_id]
        key = self._key(request)
        if not jobs or (key.is_personal and jobs[0].user_id != key.member):
            raise Refusal(404, "Conversation not found")
        jobs.sort(key=lambda job: job.created_at)
        now = self._world.now()
        messages = [
            turn for job in jobs for turn in job.turns(now, running_too=self._world.running_jobs_in_chats)
        ]
        body = {
            "id": conversation_id,
            "userId": jobs[0].user_id,
            "organizationId": ORGANIZATION,
            "createdAt": timestamp(jobs[0].created_at),
            "updatedAt": messages[-1]["timestamp"],
            "messages": messages,
        }
        return web.json_response(body)

    # Models and members.

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response(models_page(self._world.organization.models.values(), request.query))

    async def _topics(self, request: web.Request) -> web.Response:
        model = self._world.organization.models.get(uuid(request.match_info["model"], "model"))
        if model is None or model.is_deleted:
            raise Refusal(404, "Model not found")
        return web.json_response(topics_list(model))

    async def _whoami(self, request: web.Request) -> web.Response:
        organization, key = self._world.organization, self._key(request)
        model = request.query.get("modelId")
        if model is not None and model not in organization.models:
            return problem(404, f"Model {model} not found")
        member = organization.members[key.member]
        role = "ORG_ADMIN" if member.is_admin else "MEMBER"
        permissions = ["QUERY_TOPICS", *(["USE_AI"] if member.may_use_ai else [])]
        roles = {
            each: {
                "baseRole": "QUERIER",
                "connectionId": each,
                "permissions": permissions,
                "roleName": "QUERIER",
            }
            for each in ([model] if model is not None else organization.models)
        }
        body = {
            "keyScope": "user" if key.is_personal else "organization",
            "orgRole": role,
            "rolesByModel": roles,
            "user": dict(zip(("id", "membershipId"), organization.ids(member), strict=True)),
        }
        return web.json_response(body)

    async def _model_roles(self, request: web.Request) -> web.Response:
        """Answer a user's membership id, and no roles."""
        organization = self._world.organization
        if not organization.members[self._key(request).member].is_admin:
            raise Refusal(403, "Permission denied - admin role required")
        _, membership_id = organization.ids(self._member(request))
        return web.json_response({"membershipId": membership_id, "results": []})

    async def _user(self, request: web.Request) -> web.Response:
        self._check_scim(request)
        member = self._member(request)
        shown = user_resource(member)
        if self._world.shows_user_attributes:
            user_id, _ = self._world.organization.ids(member)
            shown["urn:omni:params:1.0:UserAttribute"] = {"omni_user_id": user_id, "region": "EMEA"}
        return web.json_response(shown)

    def _check_scim(self, request: web.Request) -> None:
        if request.match_info["users"] != self._world.users_path:
            raise web.HTTPNotFound
        if self._key(request).is_personal:
            raise Refusal(403, "Organization API key required")

    def _member(self, request: web.Request) -> Member:
        member = self._world.organization.members.get(uuid(request.match_info["user"], "user"))
        if member is None:
            raise Refusal(404, "User not found")
        return member

    async def _users(self, request: web.Request) -> web.Response:
        self._check_scim(request)
        body = users_page(
            self._world.organization.members.values(),
            request.query,
            most=self._world.users_per_page,
            ignores_filter=self._world.ignores_user_filter,
        )
        return web.json_response(body)

    # Shared by the endpoints.

    def _key(self, request: web.Request) -> Key:
        key = self._world.key(request.headers.get("Authorization"))
        assert key is not None
        return key

    def _job(self, request: web.Request) -> SimulatedJob:
        job = self._world.jobs.get(uuid(request.match_info["job"], "job"))
        if job is None:
            raise Refusal(404, "Job not found")
        return job


def problem(status: int, detail: str) -> web.Response:
    """A refusal as Omni words it."""
    return web.json_response({"detail": detail, "status": status}, status=status)


def _refused(request: web.Request, status: int, detail: str) -> web.Response:
    return problem(status, detail) if request.path.startswith(_WITH_PROBLEMS) else web.Response(status=status)
