"""The labels of the three heads, in the order of their logits."""

from bus.messages import RELEVANCES, SENTIMENTS

TOPICS = (
    "Analyst Update",
    "Fed | Central Banks",
    "Company | Product News",
    "Treasuries | Corporate Debt",
    "Dividend",
    "Earnings",
    "Energy | Oil",
    "Financials",
    "Currencies",
    "General News | Opinion",
    "Gold | Metals | Materials",
    "IPO",
    "Legal | Regulation",
    "M&A | Investments",
    "Macro",
    "Markets",
    "Politics",
    "Personnel Change",
    "Stock Commentary",
    "Stock Movement",
)
"""The 20 topics of the Twitter Financial News topic set, by its label number."""

HEADS: dict[str, tuple[str, ...]] = {"sentiment": SENTIMENTS, "topic": TOPICS, "relevance": RELEVANCES}
"""The labels of every head, in the order in which the network puts out its logits."""
