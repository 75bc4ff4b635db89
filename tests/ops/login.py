"""Clients of ops/conf/fws.toml, which log in with a JWT."""

from __future__ import annotations

import time

import jwt
from websockets.sync.client import ClientConnection, connect

JWT_KEY = "k" * 32


def token_of(user: str) -> str:
    """A token that is valid for an hour."""
    return jwt.encode({"sub": user, "exp": int(time.time()) + 3600}, JWT_KEY, "HS256")


def client_of(port: int, token: str) -> ClientConnection:
    """A client that has logged in."""
    headers = {"Authorization": f"Bearer {token}"}
    return connect(f"ws://127.0.0.1:{port}/", additional_headers=headers, proxy=None, open_timeout=20)
