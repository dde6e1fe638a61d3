"""Which addresses the crawler may connect to.

Checked at the only safe moment, when a name has become an address and the connection is about to be made: literals,
names that resolve to a private address, names whose answer changes between two look-ups (DNS rebinding) and the targets
of redirects all pass through here.
"""

import ipaddress
from contextvars import ContextVar
from typing import Any

from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from zope.interface import implementer  # type: ignore[import-untyped]

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""All that IANA has given out of IPv6 for the internet; ipaddress takes old site-local addresses for global."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IPv4 or IPv6 address belongs to the public internet.

    Private, loopback, link-local, shared, multicast, documentation and reserved ranges do not (the registries of IANA,
    as Python's ipaddress knows them). An IPv6 address that only wraps an IPv4 address (mapped, 6to4, Teredo, NAT64) is
    judged by that one.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        wrapped = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            wrapped = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if wrapped is not None:
            return is_public(str(wrapped))
        return ip.is_global and ip in _GLOBAL_UNICAST
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


class Guard:
    """What one download may connect to, and which addresses it was kept from."""

    def __init__(self, allow_private: bool = False) -> None:
        self.allow_private = allow_private
        self.refused: list[str] = []


guard: ContextVar[Guard | None] = ContextVar("guard", default=None)
"""The guard of the download in whose context a name is resolved; without one, public addresses only."""


@implementer(IHostnameResolver)
class GuardedResolver:
    """Passes on only the addresses that the download's guard allows; with none left the connection fails."""

    def __init__(self, resolver: Any) -> None:
        self._resolver = resolver

    def resolveHostName(self, receiver: Any, *args: Any, **options: Any) -> IHostResolution:
        """Resolve a name; the parameters are those of twisted.internet.interfaces.IHostnameResolver."""
        current = guard.get() or Guard()
        if not current.allow_private:
            receiver = _PublicOnly(receiver, current)
        resolution: IHostResolution = self._resolver.resolveHostName(receiver, *args, **options)
        return resolution


@implementer(IResolutionReceiver)
class _PublicOnly:
    def __init__(self, receiver: Any, guard: Guard) -> None:
        self._receiver = receiver
        self._guard = guard

    def resolutionBegan(self, resolution: IHostResolution) -> None:
        self._receiver.resolutionBegan(resolution)

    def addressResolved(self, address: Any) -> None:
        if is_public(address.host):
            self._receiver.addressResolved(address)
        else:
            self._guard.refused.append(address.host)

    def resolutionComplete(self) -> None:
        self._receiver.resolutionComplete()
