"""The chat of conf/chat.toml: nicknames and commands. Nicknames are unique within one process.

Write `chat.welcome` before `join` in `connect`, so that a client has a name when it joins, and `chat.commands` before
`broadcast`. Who comes and goes is announced by the channel: see [channels] in conf/chat.toml.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from datetime import UTC, datetime
from typing import Annotated

from fws import DROP, Filter, Help, StorageError

Channel = Annotated[str, Help("Channel whose members chat with each other.")]
LONGEST_NICK = 24
HELP = """/nick NAME: take another name
/me TEXT: say what you are doing
/who: see who is here"""
COMMAND = re.compile(r"(/[a-z]+(?!\S))?\s*(.*)", re.DOTALL | re.IGNORECASE)  # a path or a comment is not a command

# Control characters other than tab and line feed can control a reader's terminal. Lone surrogates cannot be encoded.
UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# Characters that are printable for Python but invisible: fillers, variation selectors, the blank Braille cell, and the
# joiners that emoji and Persian need. A name that has only these is empty. Names that differ only in these are the
# same.
UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c\u200d\u2800\u3164\ufe00-\ufe0f\uffa0]")


class Welcome(Filter):
    """Give a new client a nickname, and tell it who it is."""

    waits = False

    channel: Channel = "lobby"

    def connect(self, client):
        members = self.hub.members(self.channel)
        # Each try is one byte longer, so that a few tries suffice for any number of guests.
        names = (f"guest-{secrets.token_hex(size)}" for size in range(2, 10))
        client.state["nick"] = next(name for name in names if not taken(name, members, client))
        client.send({"type": "welcome", **who(client)})


class Commands(Filter):
    """Execute `/nick`, `/me`, `/who` and `/help`, and convert ordinary text to the object that everybody gets."""

    waits = False

    channel: Channel = "lobby"

    def message(self, client, message):
        text = message.get("text") if isinstance(message, dict) else message
        if not isinstance(text, str):
            return notice(client, "Only text can be said here.")
        said = COMMAND.match(UNSAFE.sub("", text).strip())
        assert said is not None  # any text matches
        command, rest = said.groups("")
        match command.lower():
            case "" | "/me":
                return event("did" if command else "said", client, self.wall(), text=rest) if visible(rest) else DROP
            case "/nick":
                return self.rename(client, rest)
            case "/who":
                # Other servers may have to be asked, and nobody else should wait for that.
                self.services.spawn(self.answer, client)
                return DROP
            case "/help":
                return notice(client, HELP)
        return notice(client, f"There is no {command[:30]} here, but:\n{HELP}")

    def answer(self, client):
        try:
            present = self.hub.presence(self.channel)
        except StorageError:
            return notice(client, "Nobody knows at the moment.")
        people = [{"id": one.client, "nick": one.info.get("nick")} for one in present]
        return client.send({"type": "people", "people": people})

    def rename(self, client, wish):
        was, nick = who(client)["nick"], clean_nick(wish)
        if not nick:
            return notice(client, f"A name has 1 to {LONGEST_NICK} characters, all of them visible.")
        if nick == was:
            return notice(client, f"You are {nick} already.")
        if taken(nick, self.hub.members(self.channel), client):
            return notice(client, f"The name {nick} is taken.")
        client.state["nick"] = nick
        self.hub.refresh(client)
        self.hub.publish(self.channel, event("renamed", client, self.wall(), was=was), sender=client.id)
        return DROP


def clean_nick(wish):
    """The nickname for a text, in NFC and with single spaces; empty if the text is not a valid nickname."""
    nick = unicodedata.normalize("NFC", " ".join(wish.split()))
    # `isprintable` refuses control characters, bidi overrides and zero-width spaces.
    return nick if len(nick) <= LONGEST_NICK and visible(nick) and UNSEEN.sub("", nick).isprintable() else ""


def likeness(nick):
    """A form that is equal for names that look the same: the letters without case and width."""
    return UNSEEN.sub("", unicodedata.normalize("NFKC", nick)).casefold()


def taken(nick, members, client):
    others = (member.state.get("nick", "") for member in members if member.id != client.id)
    return likeness(nick) in map(likeness, others)


def visible(text):
    return any(char.isprintable() and not char.isspace() for char in UNSEEN.sub("", text))


def who(client):
    return {"id": client.id, "nick": client.state.get("nick", client.id)}


def event(kind, client, wall, **more):
    time = datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"type": kind, **who(client), **more, "time": time}


def notice(client, text):
    client.send({"type": "notice", "text": text})
    return DROP
