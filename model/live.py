"""The model in service: the live version of a registry, exchanged while the work goes on."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from model.registry import live, served, version_folder

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""How often the registry's small file is read."""


class Versioned(Protocol):
    """A loaded model."""

    version: str


T = TypeVar("T", bound=Versioned)


class InService(Generic[T]):
    """Gives the model to use, batch by batch.

    A promoted version is loaded and warmed up in a thread of its own, beside the one that serves; whoever asks next
    gets it. One that cannot be loaded is refused, said once, and the old one goes on.

    Args:
        registry: where versions are promoted.
        bundle: what serves while none is.
        load: loads a bundle and warms it up.
        refused: called with the version that could not be loaded.

    Raises:
        BundleError: nothing there can be loaded to begin with.
    """

    def __init__(
        self,
        registry: Path,
        bundle: Path,
        load: Callable[[Path], T],
        refused: Callable[[str], None] = lambda version: None,
    ) -> None:
        self._registry = registry
        self._load = load
        self._report = refused
        self._refused = ""
        self._model = load(served(registry, bundle))

    def __call__(self) -> T:
        """The model to use for the next batch."""
        return self._model

    def watch(self, stop: threading.Event) -> None:
        """Exchange the model whenever another version goes live, until ``stop`` is set."""
        while not stop.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Exchange the model if another version is live by now."""
        wanted = ""
        try:
            now = live(self._registry)
            if now is None or now.version == self._model.version:
                self._refused = ""
                return
            if now.version == self._refused:
                return
            wanted = now.version
            self._model = self._load(version_folder(self._registry, wanted))
        except Exception as error:  # whatever is wrong with a new version, the old one must go on
            reason = wanted or str(error)
            if reason != self._refused:
                logger.error("%s: %s; version %s goes on", wanted or "registry", error, self._model.version)
                self._refused = reason
                self._report(wanted)
        else:
            self._refused = ""
            logger.warning("model version %s is in service", self._model.version)
