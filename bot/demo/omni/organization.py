"""The organisation inside the simulated Omni: its members, its models and its keys. No I/O."""

from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from bot.demo.omni.timeline import timestamp

ORGANIZATION = "880e8400-e29b-41d4-a716-446655440003"
MODEL = "770e8400-e29b-41d4-a716-446655440002"
KEY_OWNER = "990e8400-e29b-41d4-a716-446655440004"
"""The Omni user who created the organization's API key; requests run as this user by default."""
ADA = "a1b2c3d4-5e6f-4a7b-8c9d-0e1f2a3b4c5d"
GRACE = "b2c3d4e5-6f7a-4b8c-9d0e-1f2a3b4c5d6e"


class Refusal(Exception):
    """Omni's error response."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Member:
    """A user of the organisation."""

    id: str
    email: str
    name: str
    is_active: bool = True
    is_admin: bool = False
    """An admin of the organization, who may cancel every job."""
    may_use_ai: bool = True
    membership_id: str = field(default_factory=lambda: str(uuid4()))


@dataclass(frozen=True, slots=True)
class Model:
    """A model with its topics."""

    id: str
    name: str | None
    topics: tuple[str, ...] = ()
    hidden_topics: tuple[str, ...] = ()
    """Topics that the model does not show, but has."""
    kind: str = "SHARED"
    is_deleted: bool = False

    def record(self) -> dict[str, Any]:
        """The model as `GET /api/v1/models` shows it."""
        return {
            "id": self.id,
            "name": self.name,
            "modelKind": self.kind,
            "connectionId": None,
            "baseModelId": None,
            "createdAt": timestamp(0),
            "updatedAt": timestamp(0),
            "deletedAt": timestamp(0) if self.is_deleted else None,
        }


@dataclass(frozen=True, slots=True)
class Key:
    """Who asks."""

    member: str
    """In whose name: who made the organisation's key, or whose personal token it is."""
    is_personal: bool = False


def _some_members() -> dict[str, Member]:
    members = (
        Member(KEY_OWNER, "omni-admin@example.com", "Omni Admin", is_admin=True),
        Member(ADA, "ada@example.com", "Ada Byron"),
        Member(GRACE, "grace@example.com", "Grace Hopper"),
    )
    return {member.id: member for member in members}


def _some_models() -> dict[str, Model]:
    shop = Model(MODEL, "Shop", ("order_items", "customers"), ("order_items_raw",))
    return {shop.id: shop}


@dataclass(slots=True)
class Organization:
    """Who and what is there. Its defaults are what the demo begins with."""

    members: dict[str, Member] = field(default_factory=_some_members)
    """By id, in the order in which they are listed."""
    models: dict[str, Model] = field(default_factory=_some_models)
    branches: dict[str, str] = field(default_factory=dict)
    """Model of each branch."""
    personal_tokens: dict[str, str] = field(default_factory=dict)
    """Owner of each token."""
    scim_id_is_membership_id: bool = False
    """Which of a member's two ids SCIM and `userId` use: Omni doesn't document it. Members' `id` here is that one."""
    has_ai: bool = True
    """Whether an admin has enabled the AI jobs API."""

    # Actions of admins.

    def add_member(self, email: str, **more: Any) -> str:
        """Somebody joins. Returns their id."""
        member = Member(str(uuid4()), email, email.partition("@")[0].title(), **more)
        self.members[member.id] = member
        return member.id

    def change_member(self, member: str, **more: Any) -> None:
        """Somebody is deactivated, made admin, or given or denied the use of AI."""
        self.members[member] = replace(self.members[member], **more)

    def add_model(self, name: str | None, *topics: str, **more: Any) -> str:
        """A model is made. Returns its id."""
        model = Model(str(uuid4()), name, topics, **more)
        self.models[model.id] = model
        return model.id

    def add_branch(self, model: str = MODEL) -> str:
        """Somebody begins a branch of a model. Returns its id."""
        branch = str(uuid4())
        self.branches[branch] = model
        return branch

    def personal_token(self, member: str) -> str:
        """Somebody makes a personal access token. Returns it."""
        token = f"omni_pat_{uuid4().hex}"
        self.personal_tokens[token] = member
        return token

    # Decisions of Omni.

    def ids(self, member: Member) -> tuple[str, str]:
        """The member's user id and membership id."""
        ids = (member.id, member.membership_id)
        return ids[::-1] if self.scim_id_is_membership_id else ids

    def asker(self, key: Key, user_id: str | None) -> str:
        """In whose name a job runs. Raises Refusal.

        That an unknown user is a 404 and an inactive one a 403 is an assumption; Omni documents neither.
        """
        if user_id is not None and key.is_personal:
            raise Refusal(403, "User-scoped API keys cannot act on behalf of other users")
        member = self.members.get(user_id or key.member)
        if member is None:
            raise Refusal(404, "User not found")
        if not self.has_ai:
            raise Refusal(403, "Feature not enabled")
        if not (member.is_active and member.may_use_ai):
            raise Refusal(403, "Insufficient permissions")
        return member.id

    def check_model(self, model_id: str, topic: str | None, branch: str | None = None) -> None:
        """Raise Refusal unless jobs can be asked of that model, topic and branch."""
        model = self.models.get(model_id)
        if model is None or model.is_deleted or model.kind not in ("SHARED", "SHARED_EXTENSION"):
            raise Refusal(404, f"Model {model_id} not found")
        if topic is not None and topic not in model.topics + model.hidden_topics:
            raise Refusal(404, f"Topic {topic} not found")
        if branch is not None and self.branches.get(branch) != model_id:
            raise Refusal(404, "Branch not found")

    def may_cancel(self, key: Key, owner: str) -> bool:
        """Only a job's owner and the organisation's admins may. That the organisation's key counts as the member
        who made it is an assumption."""
        return key.member == owner or self.members[key.member].is_admin
