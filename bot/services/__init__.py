"""Use cases of users and programs: follow, ask, cancel, see data, share, rate, announce; and who may."""

from bot.services.announcements import AnnouncementService
from bot.services.ask import AskRequest, AskService
from bot.services.authorization import KNOWN_FOR_SECONDS, PolicyAuthorization
from bot.services.cancel import CancelService
from bot.services.feedback import FeedbackService
from bot.services.follow import FollowService
from bot.services.intents import Intents, Response, SavedRequest
from bot.services.job_data import JobDataService
from bot.services.job_results import JobResults
from bot.services.lookups import Lookups
from bot.services.models import ModelCatalog
from bot.services.omni_users import OmniUserMapper
from bot.services.remove import RemoveService
from bot.services.share import ShareService
from bot.services.submission import QuestionSubmitter
from bot.services.targets import PRIVATE, SharedChannels, Targets, parse_private_flag
