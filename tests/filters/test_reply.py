from __future__ import annotations

from pathlib import Path

from tests.support import build


def test_on_connect_it_is_the_first_thing_the_client_gets(tmp_path: Path) -> None:
    server = build('[pipelines]\nconnect = ["reply welcome {client.id}"]\nmessage = ["echo"]', tmp_path)
    client = server.connect()
    assert server.sent(client) == [f"welcome {client.id}"]


def test_the_message_flows_on(tmp_path: Path) -> None:
    server = build('[pipelines]\nmessage = ["reply \\"got it\\"", "echo"]', tmp_path)
    client = server.connect()
    server.client_says(client, "hello")
    assert server.sent(client) == ["got it", "hello"]


def test_json_keeps_its_quotes_and_blanks(tmp_path: Path) -> None:
    server = build("""[pipelines]\nmessage = ['reply {"error": "busy now"}', "drop"]""", tmp_path)
    client = server.connect()
    server.client_says(client, "hello")
    assert server.sent(client) == ['{"error": "busy now"}']


def test_a_table_is_sent_as_json_in_which_placeholders_stay_text(tmp_path: Path) -> None:
    server = build(
        """
        [endpoints."/{name}"]
        connect = ["hello"]
        [filters.hello]
        use = "reply"
        [filters.hello.value]
        name = "{name}"
        limits = [1, 2]
        """,
        tmp_path,
    )
    client = server.connect("/a%22b")
    assert server.sent(client) == ['{"name":"a\\"b","limits":[1,2]}']
