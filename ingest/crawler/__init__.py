"""The crawler: Scrapy fetches, politely, and what strangers could do with a crawler inside one's network is refused."""
