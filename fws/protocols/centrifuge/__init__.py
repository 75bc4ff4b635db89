"""Centrifugo's client protocol, version 2, in JSON.

Its source of truth is `definitions/client.proto` of github.com/centrifugal/protocol; docs/protocols.md says which part
of it is here. Each line is one command or one reply:

    {"id":1,"connect":{"token":"…"}}                        {"id":1,"connect":{"client":"…","ping":25,"pong":true}}
    {"id":2,"subscribe":{"channel":"tea"}}                  {"id":2,"subscribe":{}}
    {"id":3,"publish":{"channel":"tea","data":{"a":1}}}     {"id":3,"publish":{}}
                                                            {"push":{"channel":"tea","pub":{"data":{"a":1}}}}
    {}                                                      {}                                      (pong and ping)
"""
