"""The jobs that the demo offers: what happens to each, and what it answers."""

import math
import re
from dataclasses import dataclass
from typing import Literal
from uuid import uuid4

from bot.demo.omni.job_data import JobData, Query, bars
from bot.demo.omni.organization import ADA
from bot.demo.omni.server import SimulatedOmni
from bot.demo.omni.state import OmniWorld
from bot.demo.omni.timeline import Cancelled, Complete, Failed, Script
from bot.demo.sample_answers import (
    CHANNELS,
    CHANNELS_CSV,
    CHURN,
    COHORT_QUERY,
    HOSTILE,
    LANGUAGES,
    LOYAL,
    QUARTERLY_REVIEW,
    RETURNS,
    SOURCES,
    TOP_PRODUCTS,
    report,
)

TOP_PRODUCTS_DATA = JobData(
    queries=(
        Query(
            "Top products by revenue",
            'Product,Revenue,Orders\nSunglasses,"678,994.41","9,120"\nJeans,"475,072.00","6,334"\n'
            'Rain jackets,"391,450.75","3,012"\nRunning shoes,"388,016.20","4,101"\nTote bags,"120,733.10","5,870"\n',
            message="I'll find the 5 products with the most revenue.",
            query=(
                ("table", "order_items"),
                ("fields", ["products.name", "order_items.total_revenue", "order_items.count"]),
                ("filters", {"order_items.created_at": "last 12 months"}),
                ("sorts", [{"column_name": "order_items.total_revenue", "sort_descending": True}]),
                ("limit", 5),
                ("join_paths_from_topic_name", "order_items"),
            ),
        ),
    ),
    steps=(("search_model", "Searching for **revenue** and **product** fields"),),
)

_THOUGHTS = tuple((10.0, "Thinking about it", number) for number in range(2, 722))
"""Two hours of steps, each with an end: a cancel has its effect there."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One job to try. `script=None`: a job that Omni does not know."""

    key: str
    title: str
    hint: str
    prompt: str
    script: Script | None
    topic: str | None = None
    age_seconds: float = 0.0
    data: JobData | None = None
    """Result of the job besides its answer."""
    group: Literal["answer", "course"] = "course"
    """Whether it is there for what it answers or for what happens to it."""
    is_announced: bool = False
    """Whether a program announces it, instead of a person who types a command."""

    def start(self, omni: SimulatedOmni) -> str:
        """Start this job in Omni. Returns its id."""
        if self.script is None:
            return str(uuid4())
        return omni.add(
            self.script,
            prompt=self.prompt,
            topic=self.topic,
            age_seconds=self.age_seconds,
            data=self.data,
        )


def _answer(
    key: str, title: str, hint: str, prompt: str, markdown: str, *, topic: str, data: JobData | None = None
) -> Sample:
    """A sample that is there for its answer, which comes soon."""
    script = Script(0.5, ((3.0, "Searching for fields", 1),), 0.5, Complete(markdown))
    return Sample(key, title, hint, prompt, script, topic, data=data, group="answer")


SAMPLES = (
    Sample(
        "quick",
        "Quick answer",
        "8 s from end to end",
        "What are the top 5 products by revenue?",
        Script(
            1.5,
            ((2.5, "Searching for revenue fields", 1), (3.0, "Running query: Top products by revenue", 2)),
            1.0,
            Complete(TOP_PRODUCTS),
        ),
        topic="order_items",
        data=TOP_PRODUCTS_DATA,
    ),
    Sample(
        "slow",
        "Slow",
        "A minute in 5 steps",
        "Which plan loses the most customers, and since when?",
        Script(
            4.0,
            (
                (3.0, None, 1),
                (10.0, "Searching for **churn** fields", 1),
                (12.0, "Running query: Customers by plan and month", 2),
                (12.0, "Query returned 42 rows", 3),
                (10.0, "Comparing plans over the last 90 days", 4),
                (6.0, "Writing the summary", 5),
            ),
            3.0,
            Complete(CHURN),
        ),
        topic="subscriptions",
    ),
    Sample(
        "failing",
        "Fails",
        "And says why",
        "How much did we spend on ads per new customer?",
        Script(
            1.5,
            ((3.0, "Searching for ad spend fields", 1), (4.0, "Running query: Spend by campaign", 2)),
            end=Failed(
                "Column 'ad_spend' not found in table 'campaigns'",
                "QUERY_EXECUTION_ERROR",
                "The table has: campaign_id, spend, clicks, started_at",
            ),
        ),
        topic="campaigns",
    ),
    Sample(
        "cancelled",
        "Cancelled",
        "Stopped after 8 s",
        "List every order since 2019 with all its items",
        Script(1.5, ((6.5, "Running query: All order items", 1),), end=Cancelled(ADA)),
        topic="order_items",
    ),
    Sample(
        "queued",
        "Queued",
        "90 s, and no edits",
        "Forecast next month's revenue by region",
        Script(90.0, ((5.0, "Searching for revenue fields", 1),), 1.0, Complete(TOP_PRODUCTS)),
    ),
    Sample(
        "finished",
        "Already finished",
        "Shown at once",
        "What are the top 5 products by revenue?",
        Script(3.0, ((60.0, "Running query: Top products by revenue", 1),), 9.0, Complete(TOP_PRODUCTS)),
        topic="order_items",
        age_seconds=3_600.0,
        data=TOP_PRODUCTS_DATA,
    ),
    Sample(
        "result",
        "Without a summary",
        "The answer is in the result",
        "Who are our most loyal shoppers?",
        Script(1.5, ((3.0, "Running query: Shoppers by years", 1),), 1.0, Complete(None)),
        topic="users",
        data=JobData(changed=(("message", LOYAL),)),
    ),
    Sample(
        "endless",
        "Never ends",
        "Until you stop it",
        "Find the reason for everything",
        Script(1.0, ((4.0, "Searching for reasons", 1), *_THOUGHTS, (math.inf, None, len(_THOUGHTS) + 2))),
        topic="everything",
    ),
    Sample(
        "announced",
        "Announces itself",
        "A CI job calls the API",
        "Which dashboards did tonight's deploy break?",
        Script(
            0.5,
            ((3.0, "Searching for failed queries", 1), (3.0, "Running query: Failures since 2 a.m.", 2)),
            end=Failed("The warehouse did not answer within 5 minutes", "QUERY_TIMEOUT", None),
        ),
        topic="dashboards",
        is_announced=True,
    ),
    Sample("unknown", "Unknown id", "Omni knows none", "", None),
    _answer(
        "table",
        "Table",
        "Three plans",
        "Which plan loses the most customers?",
        CHURN,
        topic="subscriptions",
    ),
    _answer(
        "wide",
        "Wide table",
        "Thirteen columns",
        "Show returns by category and month of the year",
        RETURNS,
        topic="order_items",
    ),
    _answer(
        "long",
        "Report",
        "Lists, a quote, SQL",
        "Review last quarter's sales: regions, categories, what changed, what next",
        QUARTERLY_REVIEW,
        topic="order_items",
    ),
    _answer(
        "longer",
        "Very long",
        "More in the thread",
        "Review the year, region by region:\nrevenue, returns, discounts,\nand what to do next.\nOne section each.",
        report(),
        topic="order_items",
    ),
    _answer(
        "code",
        "Code and tasks",
        "Fences and boxes",
        "How do I compute weekly retention?",
        COHORT_QUERY,
        topic="orders",
    ),
    _answer(
        "sources",
        "Sources",
        "Citations, two tables, links",
        "What drives net revenue retention?",
        SOURCES,
        topic="subscriptions",
    ),
    _answer(
        "languages",
        "Many scripts",
        "CJK, RTL, emoji",
        "地域別の売上を教えて · ما هي المبيعات حسب المنطقة؟",
        LANGUAGES,
        topic="order_items",
    ),
    _answer(
        "chart",
        "Chart and data",
        "Picture and rows",
        "How does revenue by channel develop?",
        CHANNELS,
        topic="order_items",
        data=JobData(
            (
                Query(
                    "Revenue by channel and month",
                    CHANNELS_CSV,
                    total_rows=6,
                    query=(
                        ("fields", ["order_items.created_at[month]", "users.channel", "order_items.revenue"]),
                        (
                            "filters",
                            {
                                "users.channel": {
                                    "kind": "EQUALS",
                                    "type": "string",
                                    "values": ["Email", "Web"],
                                }
                            },
                        ),
                        ("limit", 1000),
                    ),
                ),
            ),
            picture=bars((412_300, 448_700, 467_200, 501_900, 523_400, 548_100)),
        ),
    ),
    _answer(
        "hostile",
        "Hostile",
        "Pings and scripts",
        "<!channel> *what* is `this`?",
        HOSTILE,
        topic="<@U0ADA>",
    ),
)


def sample(key: str) -> Sample:
    """The sample of that key.

    Raises:
        KeyError: there is none.
    """
    for candidate in SAMPLES:
        if candidate.key == key:
            return candidate
    raise KeyError(key)


_WORD = re.compile(r"\w{4,}")

_IN_EVERY_QUESTION = frozenset(
    "does from have many most much show that they this what when which with".split()
)

_ANSWERED = tuple(known for known in SAMPLES if known.key not in ("unknown", "hostile", "queued"))
"""Samples that a visitor's question can match. Mentions, scripts and long waits must be chosen."""

_SUGGESTED = ("quick", "slow", "failing", "chart", "endless")


def furnish(omni: OmniWorld) -> str:
    """Make the simulated Omni one that is worth asking: two models to choose from, and answers to questions. Returns
    the id of the second model."""
    omni.course = course
    return omni.organization.add_model("Support", "tickets", "agents")


def course(prompt: str) -> tuple[Script, JobData]:
    """Script and result of a job with that prompt."""
    likest = max(_ANSWERED, key=lambda candidate: _likeness(candidate, prompt))
    if likest.script is None or _likeness(likest, prompt) == 0.0:
        return Script(1.0, ((2.5, "Searching for fields", 1),), 0.5, Complete(_suggestions())), JobData()
    return likest.script, likest.data or JobData()


def _likeness(candidate: Sample, prompt: str) -> float:
    """Which part of the sample's longer words the prompt has; 0 where it has none."""
    words = _words(candidate.prompt)
    return len(words & _words(prompt)) / len(words) if words else 0.0


def _words(text: str) -> set[str]:
    """The longer words, where one product and many are the same word."""
    return {
        word.removesuffix("s") for word in _WORD.findall(text.casefold()) if word not in _IN_EVERY_QUESTION
    }


def _suggestions() -> str:
    asked = "\n".join(f"- {sample(key).prompt}" for key in _SUGGESTED)
    return f"This is the demo's Omni, and it knows only a few questions. Try one of these:\n\n{asked}"
