"""The answers of the sample jobs, in Markdown as Omni writes it."""

TOP_PRODUCTS = """### Top 5 products by revenue

1. **Sunglasses** - $678,994
2. **Jeans** - $475,072
3. **Rain jackets** - $391,450
4. **Running shoes** - $388,016
5. **Tote bags** - $120,733

Sunglasses lead for the third month in a row."""

LOYAL = "The **412** shoppers who have ordered every year since 2021: they spend `1.9` times the average."

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

RETURNS = """### Returns by category and month

| Category | Jan | Feb | Mar | Apr | May | Jun | Jul | Aug | Sep | Oct | Nov | Dec |
| :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| Outerwear | 6.1% | 6.0% | 5.8% | 5.9% | 6.2% | 6.4% | 6.1% | 6.0% | 5.7% | 5.5% | 5.9% | 7.2% |
| Accessories | 2.3% | 2.2% | 2.4% | 2.1% | 2.0% | 2.2% | 2.3% | 2.5% | 2.2% | 2.1% | 2.6% | 3.4% |
| Footwear | 9.8% | 9.1% | 9.4% | 8.8% | 8.2% | 8.0% | 7.7% | 7.9% | 7.1% | 6.8% | 7.3% | 8.9% |
| Denim | 7.4% | 7.2% | | 7.1% | 7.0% | 6.9% | 7.3% | 7.5% | 7.2% | 7.0% | 7.4% | 8.1% |
| Knitwear | 5.0% | 5.2% | 4.9% | 4.4% | 4.1% | 3.8% | 3.9% | 4.2% | 4.6% | 5.1% | 5.5% | 6.6% |

**Footwear** fell by three points until October and rose again with the holidays. Denim has no figure for March: \
nothing was sold while the warehouse moved."""

COHORT_QUERY = """### How to compute weekly retention

1. Give every customer the week of the first order:

   ```sql
   CREATE TEMPORARY TABLE cohorts AS
   SELECT customer_id, DATE_TRUNC('week', MIN(created_at)) AS cohort
   FROM orders
   GROUP BY customer_id;
   ```

2. Count who comes back, week by week:

   ```sql
   SELECT cohort, DATE_DIFF('week', cohort, orders.created_at) AS week, COUNT(DISTINCT orders.customer_id)
   FROM orders JOIN cohorts USING (customer_id) WHERE orders.status NOT IN ('Cancelled', 'Returned') GROUP BY 1, 2
   ORDER BY 1, 2;
   ```

The field `orders.created_at` is in UTC; use `CONVERT_TIMEZONE('Europe/Berlin', created_at)` for the shop's own days.

```python
retention = counts.pivot(index="cohort", columns="week", values="customers")
retention = retention.div(retention[0], axis=0).round(3)
```

#### Before you rely on it

- [x] Returned orders are left out
- [x] Weeks begin on Monday
- [ ] Customers with two accounts are counted twice
  - [ ] Merge them by e-mail address
  - [ ] ~~Merge them by name~~ too many are called the same

> The newest cohort is never complete. Leave it out of any average."""

LANGUAGES = """### 地域別の売上 · 지역별 매출 · المبيعات حسب المنطقة

| 地域 | الاسم | 売上 | Note |
| :--- | ---: | ---: | :--- |
| 東京 | طوكيو | ¥12,480,000 | 前年比 ▲ 8.2% |
| 서울 | سيول | ₩98,300,000 | 전년 대비 +3.1% |
| القاهرة | القاهرة | E£4,120,000 | نمو بنسبة ١٢٪ |
| תל אביב | تل أبيب | ₪1,905,000 | עלייה של 5% |

1. **東京**は三か月連続で首位です。アウターウェアが全体の四割を占め、返品率は下がり続けています。
2. في **القاهرة** ارتفعت الطلبات المتكررة إلى 1.9 طلب لكل عميل (كانت 1.6).
3. **תל אביב**: רוב ההזמנות מגיעות דרך האפליקציה.
4. Ünïcödé café, naïve Ærøskøbing, Việt Nam, ภาษาไทย, हिन्दी.

Team: 👩‍💻 👨‍👩‍👧‍👦 🏳️‍🌈 🇯🇵 🇰🇷 👍🏽 — mood: 🙂→😀"""

SOURCES = """Net revenue retention is **112%** [1][2], up four points[^1]. The *Team* plan drives it [2].

1. **Expansion**

   | Plan | Customers | Added seats | Expansion |
   |---|---|---|---|
   | [Team](/dashboards/team) | 1,905 | 4,120 | $182,400 |
   | Enterprise | 212 | 1,377 | $96,050 |

2. **Contraction**: $61,200, i.e. 51*1,200; half of it ~~in May~~ in *June*<br>and only on the Starter plan

| Month | Starter | Team | Enterprise |
|---|---|---|---|
| May | (4,100) | 31,200 | 12,000 |
| Jun | (27,300) | 29,850 | n/a |

Retention is \\(r = \\frac{s - c + e}{s}\\). Ask finance@channel4.com, or see **https://acme.omniapp.co/w/12** and \
<https://acme.omniapp.co/w/13|the cohort workbook>. [Open in Omni](https://elsewhere.example/login)

- **注意：**解約は*契約日*で集計しています。

[1]: https://acme.omniapp.co/w/10
[2]: https://acme.omniapp.co/w/11?plan=Team&amp;year=2026
[^1]: Without the marketplace."""  # noqa: RUF001 (the colon of CJK text)

CHANNELS = """### Revenue by channel, last six months

**Online** has overtaken the **stores** in May and stays ahead. The marketplace is small and steady.

| Month | Online | Stores | Marketplace |
| :--- | ---: | ---: | ---: |
| Apr | $412,300 | $455,900 | $61,200 |
| May | $448,700 | $447,100 | $63,900 |
| Jun | $467,200 | $431,800 | $60,400 |
| Jul | $501,900 | $420,300 | $66,100 |
| Aug | $523,400 | $428,800 | $64,700 |
| Sep | $548,100 | $411,600 | $69,300 |"""

CHANNELS_CSV = """month,online,stores,marketplace
2026-04,412300,455900,61200
2026-05,448700,447100,63900
2026-06,467200,431800,60400
2026-07,501900,420300,66100
2026-08,523400,428800,64700
2026-09,548100,411600,69300
"""

HOSTILE = (
    """# <!channel> <!here> <@U0ADA> @everyone

&lt;!channel&gt; and `<!subteam^S123>` and <script>alert("x")</script> <img src=x onerror=alert(1)>

[Reset your password](javascript:alert(1)) · [the report](https://example.com/report) · \
[](https://example.com) · ![pixel](http://example.com/p.png) · <https://example.com|https://acme.omniapp.co>

| a | |
|---|---|
| | `|` |
|-|

AWordThatNeverEnds"""
    + "x" * 400
    + """

\u202egnp.exe\u202c and a zero\u200bwidth space, \u0007 a bell, ____*****~~~~ ||||

> > > > > > > > deep

- - - - - - - - deeper

```
a fence that is never closed <!channel>
*and* | what | follows"""
)


def report(sections: int = 14) -> str:
    """An answer of several messages: so many sections, each with findings and a table."""
    parts = ["## Annual review by region"]
    for number in range(1, sections + 1):
        grown = (number * 37) % 23 - 7
        parts.append(
            f"### {number}. Region {number:02}\n\n"
            f"Revenue {'grew' if grown >= 0 else 'fell'} by **{abs(grown)}%**. Most of it came from customers who had "
            f"ordered before; new ones were {100 + number * 3} a week on average.\n\n"
            f"1. The *{('first', 'second', 'third')[number % 3]} quarter* was the strongest.\n"
            f"2. Returns were {4 + number % 5}.{number % 10}% of orders, counted by the date of the order.\n"
            f"3. Discounts made {number % 4 + 6}% of list price.\n\n"
            "| Quarter | Orders | Revenue |\n| :--- | ---: | ---: |\n"
            + "\n".join(
                f"| Q{quarter} | {1_200 + quarter * number * 7:,} | ${84_000 + quarter * number * 913:,} |"
                for quarter in range(1, 5)
            )
        )
    return "\n\n".join(
        [*parts, "### What to do next\n\nLook at the regions that fell before the spring order."]
    )
