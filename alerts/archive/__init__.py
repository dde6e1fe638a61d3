"""The archive: scored articles and spikes in a SQL store, which page, evidence, Grafana and relabelling read."""

from alerts.archive.store import Refused, Store

__all__ = ["Refused", "Store"]
