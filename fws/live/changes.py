"""What differs between two generations, for people: one line per change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from fws.base.units import format_duration
from fws.compiler.endpoint import Endpoint
from fws.compiler.generation import Generation
from fws.pipeline.events import CLIENT_EVENTS, SERVER_EVENTS
from fws.pipeline.options import options_of
from fws.pipeline.pipeline import Pipeline, Step, StepId

# Settings of [server] that a running process cannot change: it has opened its socket and started its workers.
FIXED = ("listen", "workers", "socket_mode", "socket_owner")
# In place of the pipeline of a schedule that was added or removed.
_NOTHING = Pipeline("tick")


class Change(msgspec.Struct, frozen=True):
    """One difference.

    Attributes:
        mark: `+` added, `-` removed, `~` changed, `!` needs a restart.
        where: the stage, the endpoint, or the setting.
        what: what has become of it.
        effect: what this means for connected clients; may be empty.
        place: file and line; may be empty.
    """

    mark: str
    where: str
    what: str = ""
    effect: str = ""
    place: str = ""

    def __str__(self) -> str:
        text = f"{self.mark} {self.where:34} {self.what:28} {self.place:22} {self.effect}"
        return text.rstrip()


def changes(old: Generation, new: Generation, clients: Callable[[str | None], int]) -> list[Change]:
    """All differences, in the order of the file's sections.

    Args:
        clients: the number of clients at an endpoint, by its path.
    """
    found = [*_restarts(old, new), *_settings(old, new)]
    before = {endpoint.path: endpoint for endpoint in old.all_endpoints()}
    after = {endpoint.path: endpoint for endpoint in new.all_endpoints()}
    for path, endpoint in before.items():
        if path not in after:
            number = clients(path)
            drain = format_duration(new.config.server.drain)
            effect = f"{number} clients are closed with 1001, spread over {drain}" if number else ""
            found.append(Change("-", _endpoint(path), "removed", effect))
        elif after[path] is not endpoint:
            found += _endpoint_changes(old, new, endpoint, after[path], clients(path))
    found += [Change("+", _endpoint(path), "added") for path in after if path not in before]
    for event in SERVER_EVENTS:
        found += _pipeline_changes(old, new, getattr(old, event), getattr(new, event), 0)
    for name in dict.fromkeys((*old.schedules, *new.schedules)):
        one, other = (generation.schedules.get(name, _NOTHING) for generation in (old, new))
        found += _pipeline_changes(old, new, one, other, 0)
    found += [
        Change("~", f"pipelines/{file}", "changed")
        for file in _files(old, new)
        if not any(file in change.what for change in found)
    ]
    return found


def needs_restart(found: list[Change]) -> bool:
    return any(change.mark == "!" for change in found)


def _files(old: Generation, new: Generation) -> list[str]:
    ours, theirs = new.registry.project, old.registry.project
    return ours.differences(theirs) if ours is not None and theirs is not None else []


def _restarts(old: Generation, new: Generation) -> Iterator[Change]:
    for name in FIXED:
        was, now = getattr(old.config.server, name), getattr(new.config.server, name)
        if was != now:
            yield Change("!", f"[server] {name}", f"{was} -> {now}", "needs a restart")
    if old.config.admin != new.config.admin:
        yield Change(
            "!", "[admin] listen", f"{old.config.admin.listen} -> {new.config.admin.listen}", "needs a restart"
        )
    if old.config.redis != new.config.redis:
        # The values may be secret: a URL has a password.
        names = [one for one in old.config.redis.__struct_fields__ if _differ(old.config.redis, new.config.redis, one)]
        yield Change("!", f"[redis] {', '.join(names)}", "changed", "needs a restart")
    if old.config.traces != new.config.traces:
        yield Change("!", "[traces]", "changed", "needs a restart")
    if (old.config.tls is None) != (new.config.tls is None):
        yield Change("!", "[server.tls]", "added" if old.config.tls is None else "removed", "needs a restart")


def _settings(old: Generation, new: Generation) -> Iterator[Change]:
    for title, was, now in (
        ("[server]", old.config.server, new.config.server),
        ("[server.tls]", old.config.tls, new.config.tls),
        ("[limits]", old.config.limits, new.config.limits),
        ("[api]", old.config.api, new.config.api),
    ):
        if was is not None and now is not None:
            yield from _option_changes(f"{title} ", was, now, without=FIXED)
    if (old.config.api is None) != (new.config.api is None):
        yield Change("+" if old.config.api is None else "-", "[api]", "added" if old.config.api is None else "removed")
    for name in sorted(old.config.api_keys.keys() | new.config.api_keys.keys()):
        before, after = old.config.api_keys.get(name), new.config.api_keys.get(name)
        if before != after:  # without the values, which are secret
            mark, what = ("+", "added") if before is None else ("-", "removed") if after is None else ("~", "changed")
            yield Change(mark, f"[api.keys.{name}]", what)
    was_due, now_due = old.config.schedules, new.config.schedules
    for name in dict.fromkeys((*was_due, *now_due)):
        title = f"[schedules.{name}]"
        if name in was_due and name in now_due:
            yield from _option_changes(f"{title} ", was_due[name], now_due[name], without=("run",))
        else:
            yield Change("+", title, "added") if name in now_due else Change("-", title, "removed")
    for name in dict.fromkeys((*old.config.sources, *new.config.sources)):
        one, other = (generation.built.get(("sources", name)) for generation in (old, new))
        if one is not other:
            mark, what = ("+", "added") if one is None else ("-", "removed") if other is None else ("~", "changed")
            yield Change(mark, f"[sources.{name}]", what)
    for name in old.config.channels.settings.keys() | new.config.channels.settings.keys():
        if old.config.channels.settings.get(name) != new.config.channels.settings.get(name):
            yield Change("~", f'[channels."{name}"]', "changed")


def _option_changes(title: str, was: Any, now: Any, without: tuple[str, ...] = ()) -> Iterator[Change]:
    for option in options_of(type(was)):
        if option.name not in without and _differ(was, now, option.field):
            values = [option.text_of(getattr(one, option.field)) for one in (was, now)]
            yield Change("~", f"{title}{option.name}", " -> ".join(value if value else '""' for value in values))


def _differ(was: Any, now: Any, field: str) -> bool:
    return bool(getattr(was, field) != getattr(now, field))


def _endpoint_changes(old: Generation, new: Generation, was: Endpoint, now: Endpoint, clients: int) -> Iterator[Change]:
    if now.path is not None:
        title = f"{_endpoint(now.path)} "
        yield from _option_changes(title, was.settings, now.settings, without=_shared_changes(old, new, "server"))
        yield from _option_changes(title, was.bounds, now.bounds, without=_shared_changes(old, new, "limits"))
    for event in CLIENT_EVENTS:
        yield from _pipeline_changes(old, new, getattr(was, event), getattr(now, event), clients)


def _shared_changes(old: Generation, new: Generation, section: str) -> tuple[str, ...]:
    """Settings that endpoints inherit, and whose change is shown at their section already."""
    was, now = getattr(old.config, section), getattr(new.config, section)
    return tuple(name for name in was.__struct_fields__ if getattr(was, name) != getattr(now, name))


def _pipeline_changes(old: Generation, new: Generation, was: Pipeline, now: Pipeline, clients: int) -> Iterator[Change]:
    if was == now:
        return
    before, after = _by_id(was), _by_id(now)
    for id, step in before.items():
        if id not in after:
            yield Change("-", id.address, step.text, _effect(step, clients))
    previous = ""
    for id, step in after.items():
        place = _place(new, step)
        if id not in before:
            yield Change("+", id.address, f"after {previous}" if previous else "first", _effect(step, clients), place)
        elif before[id].hook != step.hook:
            yield Change("~", id.address, _difference(before[id], step), _effect(step, clients, changed=True), place)
        previous = step.id.stage[-1]
    common = [id for id in after if id in before]
    if common != [id for id in before if id in after]:
        yield Change("~", f"{_first(now).id.path} {now.event}", "another order of its stages")


def _by_id(pipeline: Pipeline) -> dict[StepId, Step]:
    return {step.id: step for step in pipeline.walk()}


def _first(pipeline: Pipeline) -> Step:
    return pipeline.steps[0]


def _difference(was: Step, now: Step) -> str:
    if was.text != now.text:
        return f"{was.text} -> {now.text}"
    if was.options != now.options:
        return f"{was.options} -> {now.options}"
    if was.cls is not now.cls:
        return f"its code in {now.cls.__module__.rpartition('.')[2]}.py has changed"
    return "changed"


def _effect(step: Step, clients: int, *, changed: bool = False) -> str:
    if step.id.event == "connect":
        return f"new connections only; {clients} clients keep what they have" if clients else "new connections only"
    if changed:
        return "its state is kept" if hasattr(step.cls, "adopt") else "it starts afresh"
    return ""


def _endpoint(path: str | None) -> str:
    return "*" if path is None else path


def _place(generation: Generation, step: Step) -> str:
    place = generation.config.source.place(step.path)
    return f"{place.file}:{place.line}" if place.line else ""
