"""The PromQL of the dashboard. ``$series`` and ``$horizon`` are its variables, ``$__...`` are Grafana's own.

Every role may run as several processes, so each gauge is folded over them: with ``max`` where one process at a time
owns the value (a series has one owner), with ``sum`` where each holds its share (lag, counters).
"""

RELEVANT = "negative|neutral|positive"
"""The sentiments of articles that a financial desk wants; the others are irrelevant or unscored."""


def _articles(sentiment: str, window: str, by: str = "") -> str:
    """Articles of some sentiments counted within a window."""
    return f'sum{by} (increase(squall_articles_total{{sentiment=~"{sentiment}"}}[{window}]))'


def net_sentiment(window: str, by: str = "") -> str:
    """(positive - negative) / relevant articles within a window, -1 to 1; absent where nothing relevant came."""
    relevant = _articles(RELEVANT, window, by)
    positive, negative = (f"({_articles(side, window, by)} or 0 * {relevant})" for side in ("positive", "negative"))
    return f"({positive} - {negative}) / ({relevant} > 0)"


def detector(name: str, series: str) -> str:
    """One of the detector's gauges for the series that match, at the chosen horizon."""
    return f'max by (series) (squall_negative_{name}{{series=~"{series}", horizon="$horizon"}})'


def busiest(name: str, kind: str, count: int = 15) -> str:
    """A gauge of the detector for the series of one kind that have the most negative articles."""
    return f"{detector(name, kind)} and on (series) topk({count}, {detector('observed', kind)} > 0)"


def quantile(rank: float, histogram: str, matcher: str = "") -> str:
    """A quantile of a histogram over the last scrapes, all processes together."""
    return f"histogram_quantile({rank}, sum by (le) (rate({histogram}_bucket{{{matcher}}}[$__rate_interval])))"


# Mood of the market

OPEN_SPIKES = "count(max by (series) (squall_spike_active) > 0) or vector(0)"
MARKET_SHARE = 'max(squall_negative_share{series="all"})'
MARKET_SENTIMENT = net_sentiment("1h")
RELEVANT_ARTICLES = _articles(RELEVANT, "1h")
SENTIMENT_BY_TOPIC = net_sentiment("1h", " by (topic)")
SHARE_BY_TOPIC = 'max by (series) (squall_negative_share{series=~"topic:.+"})'

OBSERVED = 'max(squall_negative_observed{series="$series", horizon="$horizon"})'
EXPECTED = 'max(squall_negative_expected{series="$series", horizon="$horizon"})'
SURPRISE = 'max(squall_negative_surprise{series="$series", horizon="$horizon"})'

SPIKE_STRIP = "max by (series) (squall_spike_active) > 0"
SPIKES_OPENED = 'sum by (kind) (increase(squall_spikes_total{state="opened"}[$__rate_interval]))'

_BY_SOURCE = 'sum by (source) (increase(squall_articles_total{sentiment="negative"}[$__range]))'
NEGATIVE_SOURCES = f"topk(10, {_BY_SOURCE})"
SHARE_OF_SOURCES = f"topk(10, {_BY_SOURCE} / scalar(sum({_BY_SOURCE}) > 0))"

# Pipeline

PROCESSES = "sum by (role) (squall_role_up)"
RATES = {
    "ingested": "sum(rate(squall_ingest_articles_total[$__rate_interval]))",
    "scored": "sum(rate(squall_scored_total[$__rate_interval]))",
    "counted": "sum(rate(squall_articles_total[$__rate_interval]))",
    "archived": "sum(rate(squall_archive_articles_total[$__rate_interval]))",
}
OUTCOMES = "sum by (outcome) (rate(squall_scored_total[$__rate_interval]))"
LAG = "sum by (group, topic) (squall_consumer_lag)"
FETCHED_TO_SCORED = (
    'sum by (le) (increase(squall_end_to_end_seconds_bucket{stage="fetched_to_scored"}[$__rate_interval]))'
)
SCORED_TO_TREND = 'sum by (le) (increase(squall_end_to_end_seconds_bucket{stage="scored_to_trend"}[$__rate_interval]))'
EVENT_TIME_AGE = "time() - max(squall_trends_event_time_seconds)"
LATE_ARTICLES = "sum(increase(squall_late_articles_total[$__rate_interval]))"

BATCH_SECONDS = (
    "sum(rate(squall_batch_seconds_sum[$__rate_interval])) / sum(rate(squall_batch_seconds_count[$__rate_interval]))"
)
WORKER_BUSY = "rate(squall_batch_seconds_sum[$__rate_interval])"

DEAD_LETTERS = "sum by (stage) (increase(squall_dead_letters_total[$__rate_interval]))"
FENCED = "sum by (group) (increase(squall_fenced_total[$__rate_interval]))"
RETRIES = "sum by (group, reason) (increase(squall_retries_total[$__rate_interval]))"
INGEST_WAITS = "sum(increase(squall_ingest_log_waits_total[$__rate_interval]))"

CRAWL_RESULTS = "sum by (result) (increase(squall_crawl_results_total[$__rate_interval]))"
CRAWL_AGE = "min by (source) (squall_crawl_staleness_seconds)"
CRAWLED = "sum by (source) (increase(squall_ingest_articles_total[$__range]))"
CRAWL_FAILURES = 'sum by (source) (increase(squall_crawl_results_total{result!~"ok|unchanged"}[$__range]))'
REFUSED = "sum by (reason) (increase(squall_ingest_refused_total[$__rate_interval]))"

MODEL = "count by (version, device) (squall_model_info)"
ALERTS_PENDING = "sum(squall_alerts_pending)"
ALERTS_DELIVERED = "sum by (state) (increase(squall_alerts_delivered_total[$__range]))"
SLACK_FAILURES = "sum by (reason) (increase(squall_slack_failures_total[$__rate_interval]))"
ALERTS_LOST = "sum(squall_alerts_dead)"

# Annotations

SPIKE_OPEN = 'max by (series, horizon) (squall_spike_active{series="$series"}) > 0'
MODEL_PROMOTED = "max by (version) (squall_model_info) unless max by (version) (squall_model_info offset 10m)"
