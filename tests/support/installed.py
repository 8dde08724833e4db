"""An installation as Bolt hands it over, and the keys that it is kept with."""

from cryptography.fernet import Fernet
from slack_sdk.oauth.installation_store import Installation

from bot.domain.cards import TeamId
from bot.domain.credentials import OmniAccount
from bot.encryption import EncryptionKeys
from bot.storage.installations import InstallationStore
from bot.storage.transactions import Transactions
from bot.workspaces.installations import Installations

CLIENT_ID = "111.222"
ACME, OTHER = TeamId("T0ACME"), TeamId("T0OTHER")
OLD_KEY, NEW_KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()
OWN = OmniAccount("https://other.omniapp.co", "omni_osk_other", 120)
SHARED = OmniAccount("https://acme.omniapp.co", "omni_osk_settings", 60)


def installation(team: str = ACME, token: str = "xoxb-secret", enterprise: str | None = None) -> Installation:
    return Installation(
        app_id="A0OMNI",
        enterprise_id=enterprise,
        team_id=team,
        team_name="Acme",
        bot_token=token,
        bot_id="B0OMNI",
        bot_user_id="U0OMNI",
        bot_scopes="chat:write,commands",
        user_id="U0ADA",
    )


def store(transactions: Transactions, keys: str = OLD_KEY) -> InstallationStore:
    return InstallationStore(transactions, CLIENT_ID, EncryptionKeys(keys))


def installations(
    transactions: Transactions, keys: str = OLD_KEY, *, shared: OmniAccount | None = SHARED, to: str = ""
) -> Installations:
    """`to`: the teams that share the settings' Omni."""
    allowed = frozenset(TeamId(team) for team in to.split())
    return Installations(transactions, CLIENT_ID, EncryptionKeys(keys), shared=shared, shared_with=allowed)
