"""Builds and runs one set of components per Slack workspace, and installs new ones by OAuth."""

from bot.workspaces.agreement import Agreement
from bot.workspaces.install import Installer
from bot.workspaces.installations import InstallationInfo, Installations
from bot.workspaces.oauth import INSTALL_PATH, REDIRECT_PATH, OAuth
from bot.workspaces.processes import ProcessResources, process_resources, server_secret
from bot.workspaces.registry import Workspaces
from bot.workspaces.sources import SingleWorkspace
from bot.workspaces.uninstall import sweep_uninstalled
from bot.workspaces.workspace import SharedResources, at_most, build, now
