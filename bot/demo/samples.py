"""The jobs that the demo offers: what happens to each, and what it answers."""

import math
from dataclasses import dataclass
from uuid import uuid4

from bot.demo.jobdata import JobData, Query
from bot.demo.omni import SimulatedOmni
from bot.demo.timeline import Cancelled, Complete, Failed, Script

ADA_IN_OMNI = "a1b2c3d4-5e6f-4a7b-8c9d-0e1f2a3b4c5d"

TOP_PRODUCTS = """### Top 5 products by revenue

1. **Sunglasses** - $678,994
2. **Jeans** - $475,072
3. **Rain jackets** - $391,450
4. **Running shoes** - $388,016
5. **Tote bags** - $120,733

Sunglasses lead for the third month in a row."""

TOP_PRODUCTS_DATA = JobData(
    queries=(
        Query(
            "Top products by revenue",
            'Product,Revenue,Orders\nSunglasses,"678,994.41","9,120"\nJeans,"475,072.00","6,334"\n'
            'Rain jackets,"391,450.75","3,012"\nRunning shoes,"388,016.20","4,101"\nTote bags,"120,733.10","5,870"\n',
            message="I'll find the 5 products with the most revenue.",
        ),
    ),
    steps=(("search_model", "Searching for **revenue** and **product** fields"),),
)

CHURN = """### Churn by plan, last 90 days

| Plan | Customers | Left | Churn |
| :--- | ---: | ---: | ---: |
| Starter | 4,120 | 371 | 9.0% |
| Team | 1,905 | 57 | 3.0% |
| Enterprise | 212 | 2 | 0.9% |

**Starter** loses three times as many customers as **Team**. Two thirds of those who left had \
never invited a second person."""

QUARTERLY_REVIEW = """## Quarterly sales review

Revenue **grew 15%** to $6.2M. Growth came from EMEA and from repeat customers; new customers in \
North America fell slightly.

### Revenue by region

| Region | Revenue | Share | Change |
| :--- | ---: | ---: | ---: |
| EMEA | $2,541,800 | 41% | +24% |
| North America | $2,170,300 | 35% | +4% |
| APAC | $1,116,000 | 18% | +21% |
| Latin America | $371,900 | 6% | -2% |

### Best-selling categories

| Category | Orders | Revenue | Returned |
| :--- | ---: | ---: | ---: |
| Outerwear | 18,204 | $1,904,220 | 6.1% |
| Accessories | 41,877 | $1,388,410 | 2.3% |
| Footwear | 12,350 | $1,201,765 | 9.8% |
| Denim | 14,912 | $1,022,548 | 7.4% |

### What changed

1. **Repeat customers** ordered 1.9 times on average, up from 1.6.
2. **Footwear returns** rose to 9.8%. Most name the size as the reason; the new size chart went live \
in the second week of the quarter.
3. **Discounts** fell from 11% to 8% of list price without a visible effect on orders.

> Returns are counted by the date of the order, so the last two weeks will still rise.

### How this was calculated

```sql
SELECT region, SUM(sale_price) AS revenue
FROM order_items
WHERE created_at >= DATE '2026-07-01' AND status <> 'Returned'
GROUP BY region
ORDER BY revenue DESC
```

### Unknowns

- Orders from the *marketplace* carry no region and are left out (about 1.4% of revenue).
- Currency is converted at the rate of the day of the order.

### Recommended next steps

- Look at footwear sizes by brand before the spring order.
- Ask the team in Latin America whether the new delivery partner explains the missing growth.
- Keep discounts where they are for another quarter."""


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
    """What it will have found."""

    def start(self, omni: SimulatedOmni) -> str:
        """Let somebody start this job in Omni. Returns its id."""
        if self.script is None:
            return str(uuid4())
        return omni.add(
            self.script,
            prompt=self.prompt,
            topic=self.topic,
            age_seconds=self.age_seconds,
            data=self.data,
        )


SAMPLES = (
    Sample(
        "quick",
        "Quick answer",
        "8 seconds from queued to answered",
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
        "Slow, with progress",
        "A minute in 5 steps, then a reply",
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
        "The card and a reply say why",
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
        "Somebody stops it after 8 seconds",
        "List every order since 2019 with all its items",
        Script(1.5, ((6.5, "Running query: All order items", 1),), end=Cancelled(ADA_IN_OMNI)),
        topic="order_items",
    ),
    Sample(
        "queued",
        "Queued for long",
        "90 seconds in the queue, no edits",
        "Forecast next month's revenue by region",
        Script(90.0, ((5.0, "Searching for revenue fields", 1),), 1.0, Complete(TOP_PRODUCTS)),
    ),
    Sample(
        "long",
        "Long answer with tables",
        "A report of several sections",
        "Review last quarter's sales: regions, categories, what changed, what next",
        Script(
            1.0,
            ((3.0, "Running query: Revenue by region", 1), (3.0, "Running query: Orders by category", 2)),
            1.0,
            Complete(QUARTERLY_REVIEW),
        ),
        topic="order_items",
    ),
    Sample(
        "finished",
        "Already finished",
        "Shown at once in its final form",
        "What are the top 5 products by revenue?",
        Script(3.0, ((60.0, "Running query: Top products by revenue", 1),), 9.0, Complete(TOP_PRODUCTS)),
        topic="order_items",
        age_seconds=3_600.0,
        data=TOP_PRODUCTS_DATA,
    ),
    Sample("unknown", "Unknown id", "A job that Omni does not know", "", None),
)

ENDLESS = Script(math.inf)
"""Queued until somebody cancels it."""


def sample(key: str) -> Sample:
    """The sample of that key.

    Raises:
        KeyError: there is none.
    """
    for candidate in SAMPLES:
        if candidate.key == key:
            return candidate
    raise KeyError(key)
