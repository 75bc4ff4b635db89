"""`Component`, what filters and sources have in common: documented options, and what the server lends to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from fws.base.timers import Timers
from fws.pipeline.interfaces import Hub
from fws.pipeline.services import Services
from fws.pipeline.storage import Storage


class Setting(msgspec.Struct, frozen=True):
    """Where a component is configured.

    Attributes:
        folder: the folder of the TOML file, to which paths are relative.
        environ: the environment variables.
    """

    folder: Path
    environ: Mapping[str, str]


class Component(msgspec.Struct, dict=True, weakref=True, eq=False):
    """A part that a TOML file names and configures. Its fields are its options.

    If the class defines `start()` and `stop()`, the server calls them when it begins and ceases to use the component.
    """

    # Whether it needs the Redis of [redis], and cannot do with the memory of a process.
    needs_redis: ClassVar[bool] = False

    @property
    def services(self) -> Services:
        """Set by the compiler. A component that is made by hand has real clocks and no hub."""
        services: Services | None = self.__dict__.get("services")
        if services is None:
            services = self.__dict__["services"] = Services()
        return services

    @services.setter
    def services(self, services: Services) -> None:
        self.__dict__["services"] = services

    @property
    def hub(self) -> Hub:
        """This process's clients and channels: `self.hub.publish(channel, message)`."""
        return self.services.hub

    @property
    def storage(self) -> Storage:
        """Sets, maps, counters and values that filters share, with Redis among all nodes (`fws.Storage`)."""
        return self.services.storage

    @property
    def timers(self) -> Timers:
        """Calls within half a second after a time: `self.timers.at(self.clock() + 5, function)`.

        A timer costs little memory, so that each client may have several. `after` is exact and costs more.
        """
        return self.services.timers

    def prepare(self, setting: Setting) -> None:
        """Called once before the component is used, to read and check files and the environment.

        Raises:
            ValueError: says what is wrong. It becomes a problem of the file.
        """

    def after(self, seconds: float, function: Callable[[], object]) -> Callable[[], None]:
        """Call a function after so many seconds, to the millisecond. Returns a function that cancels the call.

        The function runs in the event loop and must not block. If it raises, the exception is reported like that of a
        hook.
        """

        def call() -> None:
            try:
                function()
            except Exception as error:  # a user's code may raise anything
                self.services.report("after", error, "")

        return self.services.after(seconds, call)

    def clock(self) -> float:
        """Monotonic seconds, for timeouts and rates."""
        return self.services.clock()

    def wall(self) -> float:
        """Unix time in seconds, to show to people."""
        return self.services.wall()

    def offload(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function that computes for long, such as bcrypt, in a native thread, and return what it returns.

        Only this client waits. The function must not use the hub, clients, or the storage. Threads and time are bounded
        by `[limits] threads` and `offload_timeout`.

        Raises:
            OffloadError: all threads are busy and too many calls wait, or it took too long.
        """
        return self.services.offload(function, *arguments)
