from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import Client, TestResponse

from fws.base.errors import Refusal
from fws.server.web import Web
from fws.wire.head import HeadReader

SECRET = "not for the public"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A static folder with a secret next to it."""
    (tmp_path / "secret.txt").write_text(SECRET)
    (tmp_path / "static-private").mkdir()
    (tmp_path / "static-private" / "secret.txt").write_text(SECRET)
    static = tmp_path / "static"
    (static / "docs").mkdir(parents=True)
    (static / "empty").mkdir()
    (static / ".git").mkdir()
    (static / "index.html").write_text("<title>home</title>")
    (static / "docs" / "index.html").write_text("<title>docs</title>")
    (static / "app.js").write_text("let a")
    (static / "bücher.txt").write_text("Bücher")
    (static / ".env").write_text(SECRET)
    (static / ".git" / "config").write_text(SECRET)
    return static


class Browser(Client):
    """A client that reads every response to its end, as a server does."""

    def open(self, *args: Any, **more: Any) -> TestResponse:
        return super().open(*args, buffered=True, **more)


def client(
    static: Path | None = None, health: dict[str, object] | None = None, endpoints: tuple[str, ...] = ()
) -> Browser:
    web = Web(static=static, health=lambda: health or {"status": "ok"}, is_endpoint=lambda path: path in endpoints)
    return Browser(validator(web))


def get(static: Path, path: str, **more: Any) -> TestResponse:
    """Request a path exactly as given: it becomes PATH_INFO without normalization."""
    return client(static).get("/", environ_overrides={"PATH_INFO": path}, **more)


class TestHealth:
    @pytest.mark.parametrize(("status", "expected"), [("ok", 200), ("degraded", 200), ("draining", 503), (None, 503)])
    def test_the_status_decides(self, status: str | None, expected: int) -> None:
        response = client(health={"status": status, "clients": 3}).get("/healthz")
        assert response.status_code == expected
        assert response.json == {"status": status, "clients": 3}
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "no-cache"

    def test_head(self) -> None:
        response = client().head("/healthz")
        assert (response.status_code, response.data) == (200, b"")

    def test_a_file_does_not_hide_it(self, folder: Path) -> None:
        (folder / "healthz").write_text("fine")
        assert client(folder).get("/healthz").json == {"status": "ok"}


class TestWithoutAFile:
    def test_an_endpoint_asks_for_an_upgrade(self) -> None:
        response = client(endpoints=("/chat",)).get("/chat")
        assert response.status_code == 426
        assert response.headers["Upgrade"] == "websocket"
        assert response.headers["Connection"] == "Upgrade"
        assert response.text.count(".") == 1

    def test_an_endpoint_is_asked_for_by_its_decoded_path(self) -> None:
        assert client(endpoints=("/bücher",)).get("/b%C3%BCcher").status_code == 426

    def test_anything_else_is_not_found(self, folder: Path) -> None:
        for some in (client(), client(folder), client(folder / "missing")):
            response = some.get("/nothing")
            assert response.status_code == 404
            assert response.content_type == "text/plain; charset=utf-8"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.text == "There is nothing at this path.\n"

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
    def test_only_get_and_head(self, folder: Path, method: str) -> None:
        response = client(folder).open("/", method=method)
        assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD")

    def test_a_path_that_is_not_utf_8(self, folder: Path) -> None:
        assert get(folder, "/\xff").status_code == 400


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("a.html", "text/html; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.mjs", "text/javascript; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.txt", "text/plain; charset=utf-8"),
            ("a.svg", "image/svg+xml; charset=utf-8"),
            ("a.json", "application/json"),
            ("a.webmanifest", "application/manifest+json"),
            ("a.woff2", "font/woff2"),
            ("a.png", "image/png"),
            ("a.wasm", "application/wasm"),
            ("a.tar.gz", "application/octet-stream"),
            ("a.unheard-of", "application/octet-stream"),
            ("a", "application/octet-stream"),
        ],
    )
    def test_types(self, folder: Path, name: str, kind: str) -> None:
        (folder / name).write_bytes(b"content")
        response = client(folder).get(f"/{name}")
        assert (response.status_code, response.data, response.content_type) == (200, b"content", kind)
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-cache"
        assert "Content-Encoding" not in response.headers

    def test_head_has_the_length_and_no_body(self, folder: Path) -> None:
        response = client(folder).head("/app.js")
        assert (response.status_code, response.data, response.content_length) == (200, b"", 5)

    def test_a_name_beyond_ascii(self, folder: Path) -> None:
        assert client(folder).get("/b%C3%BCcher.txt").text == "Bücher"

    def test_a_file_goes_before_an_endpoint(self, folder: Path) -> None:
        some = client(folder, endpoints=("/", "/chat"))
        assert some.get("/").status_code == 200
        assert some.get("/chat").status_code == 426

    def test_an_unchanged_file_is_not_sent_again(self, folder: Path) -> None:
        tag = client(folder).get("/app.js").headers["ETag"]
        response = client(folder).get("/app.js", headers={"If-None-Match": tag})
        assert (response.status_code, response.data) == (304, b"")
        assert "Content-Length" not in response.headers  # pywsgi would fail
        (folder / "app.js").write_text("let a = 1")
        assert client(folder).get("/app.js", headers={"If-None-Match": tag}).data == b"let a = 1"

    def test_ranges(self, folder: Path) -> None:
        response = client(folder).get("/app.js", headers={"Range": "bytes=1-2"})
        assert (response.status_code, response.data) == (206, b"et")
        response = client(folder).get("/app.js", headers={"Range": "bytes=5-"})
        assert (response.status_code, response.headers["Content-Range"]) == (416, "bytes */5")

    @pytest.mark.parametrize("value", ["bytes=0-1,3-4", "lines=1-2", "bytes=x", "bytes", "bytes=", "bytes=-", "2-3"])
    def test_ranges_that_are_not_one_of_bytes_get_the_whole_file(self, folder: Path, value: str) -> None:
        """Fault: several ranges and other units got 416. RFC 9110 14.2 lets a server ignore them."""
        response = client(folder).get("/app.js", headers={"Range": value})
        assert (response.status_code, len(response.data)) == (200, 5)

    @settings(max_examples=100, deadline=None)
    @given(
        st.sampled_from(["Range", "If-Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since"]),
        st.one_of(
            st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30),
            st.from_regex(r"bytes=-?[0-9]{0,30}-?[0-9]{0,30}(,[0-9]*-[0-9]*)?", fullmatch=True),
            st.from_regex(r"(W/)?\"?[a-z*]*\"?(, ?\*)?", fullmatch=True),
            st.from_regex(r"(Mon|Xyz), [0-9]{1,3} Jan [0-9]{1,9} [0-9]{2}:[0-9]{2}:99 GMT", fullmatch=True),
        ),
    )
    def test_no_conditional_header_is_our_fault(self, header: str, value: str) -> None:
        response = client(Path(__file__).parent).get(
            f"/{Path(__file__).name}", headers=[("Range", "bytes=0-1"), (header, value)]
        )
        assert response.status_code in (200, 206, 304, 412, 416)


class TestFolders:
    def test_the_index_is_shown(self, folder: Path) -> None:
        assert "home" in client(folder).get("/").text
        response = client(folder).get("/docs/")
        assert "docs" in response.text
        assert response.content_type == "text/html; charset=utf-8"

    def test_a_missing_slash_is_added(self, folder: Path) -> None:
        response = client(folder).get("/docs?a=%20b")
        assert (response.status_code, response.headers["Location"]) == (307, "/docs/?a=%20b")

    def test_the_redirect_keeps_to_this_server(self, folder: Path) -> None:
        (folder / "a b\\ü").mkdir()
        (folder / "a b\\ü" / "index.html").touch()
        assert get(folder, "/a b\\\xc3\xbc").headers["Location"] == "/a%20b%5C%C3%BC/"
        assert get(folder, "//docs").status_code == 404  # "//docs/" would be another host
        assert get(folder, "/\\docs").status_code == 404

    @pytest.mark.parametrize("path", ["/empty", "/empty/", "/.git/", "/index.html/", "/app.js/"])
    def test_folders_are_never_listed(self, folder: Path, path: str) -> None:
        assert client(folder).get(path).status_code == 404


TRICKS = [
    "/../secret.txt",
    "/docs/../../secret.txt",
    "/docs/../index.html",
    "/./index.html",
    "/..",
    "/../",
    "/../static-private/secret.txt",
    "/docs/..",
    "/..\\secret.txt",
    "/..\\..\\secret.txt",
    "/\\..\\secret.txt",
    "/%2e%2e/secret.txt",  # decoded once already: a literal name
    "/..%2fsecret.txt",
    "/....//secret.txt",
    "/..;/secret.txt",
    "/.../secret.txt",
    "//etc/passwd",
    "///etc/passwd",
    "/etc/passwd",
    "/C:/secret.txt",
    "/file:///etc/passwd",
    "/~root/.bashrc",
    "/index.html\x00",
    "/index.html\x00.js",
    "/\x00",
    "/app.js\n",
    "/app.js ",
    "/.env",
    "/.git/config",
    "/.",
    "/" + "a" * 300,
    "/" + "a/" * 5000,
    "/" + "a" * 100_000,
    "/" + "../" * 3000 + "etc/passwd",
]


class TestPathTricks:
    @pytest.mark.parametrize("path", TRICKS)
    def test_a_trick_finds_nothing(self, folder: Path, path: str) -> None:
        response = get(folder, path)
        assert response.status_code == 404
        assert SECRET not in response.text

    @pytest.mark.parametrize(
        "path",
        [
            "/../secret.txt",
            "/%2e%2e/secret.txt",
            "/%2E%2E%2Fsecret.txt",
            "/docs/%2e%2e/app.js",
            "/..%5csecret.txt",
            "/%2fetc/passwd",
            "/app.js%00",
        ],
    )
    def test_a_trick_from_the_wire_finds_nothing(self, folder: Path, path: str) -> None:
        """The path goes through the head reader, which decodes it."""
        try:
            head = HeadReader().feed(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        except Refusal as refusal:
            status = refusal.status
        else:
            assert head is not None
            status = get(folder, head.path.encode().decode("latin-1")).status_code
        assert status in (400, 404)

    def test_links_may_not_leave_the_folder(self, folder: Path) -> None:
        (folder / "out.txt").symlink_to(folder.parent / "secret.txt")
        (folder / "out").symlink_to(folder.parent / "static-private")
        (folder / "docs" / "up").symlink_to("../..")
        (folder / "outdex").mkdir()
        (folder / "outdex" / "index.html").symlink_to(folder.parent / "secret.txt")
        (folder / "loop").symlink_to("loop")
        (folder / "dangling").symlink_to("nowhere")
        for path in ("/out.txt", "/out/secret.txt", "/docs/up/secret.txt", "/outdex/", "/outdex", "/loop", "/dangling"):
            assert client(folder).get(path).status_code == 404, path

    def test_links_inside_the_folder_are_followed(self, folder: Path) -> None:
        """A mounted Kubernetes ConfigMap consists of links through a folder with dots."""
        (folder / "..data").mkdir()
        (folder / "..data" / "page.html").write_text("page")
        (folder / "page.html").symlink_to("..data/page.html")
        assert client(folder).get("/page.html").text == "page"

    def test_the_folder_itself_may_be_a_link_that_changes(self, folder: Path) -> None:
        link = folder.parent / "current"
        link.symlink_to("static")
        some = client(link)
        assert some.get("/app.js").status_code == 200
        link.unlink()
        link.symlink_to("static-private")
        assert some.get("/app.js").status_code == 404

    def test_only_regular_files_are_opened(self, folder: Path) -> None:
        os.mkfifo(folder / "pipe.txt")  # opening it would wait for a writer for ever
        assert client(folder).get("/pipe.txt").status_code == 404

    @pytest.mark.slow
    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(
            st.sampled_from(
                ["..", ".", "/", "\\", "a", "secret.txt", "static-private", "\x00", "%2e", "~", "docs", " ", ";"]
            ),
            max_size=12,
        )
    )
    def test_no_mixture_of_tricks_leaves_the_folder(self, pieces: list[str]) -> None:
        with tempfile.TemporaryDirectory() as parent:
            static = Path(parent, "static")
            (static / "docs").mkdir(parents=True)
            Path(parent, "secret.txt").write_text(SECRET)
            Path(parent, "static-private").mkdir()
            Path(parent, "static-private", "secret.txt").write_text(SECRET)
            assert get(static, "/" + "".join(pieces)).status_code == 404


@pytest.fixture
def unreadable() -> Iterator[Path]:
    """A folder with an unreadable file and subfolder. Root may read everything, so that this process drops its
    privileges.
    """
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as parent:  # not pytest's, into which only its owner sees
        folder = Path(parent)
        folder.chmod(0o755)
        (folder / "public.txt").write_text("public")
        (folder / "file.txt").write_text(SECRET)
        (folder / "file.txt").chmod(0)
        (folder / "closed").mkdir()
        (folder / "closed" / "index.html").write_text(SECRET)
        (folder / "closed").chmod(0)
        if user == 0:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(user)
            (folder / "closed").chmod(0o700)


def test_an_unreadable_file_is_not_found(unreadable: Path) -> None:
    assert client(unreadable).get("/public.txt").text == "public"
    for path in ("/file.txt", "/closed", "/closed/", "/closed/index.html"):
        assert client(unreadable).get(path).status_code == 404, path
    assert client(unreadable / "closed").get("/index.html").status_code == 404


def test_a_bare_wsgi_server_needs_nothing_else(folder: Path) -> None:
    """The application uses only what PEP 3333 guarantees in the environment."""
    environ: dict[str, object] = {}
    setup_testing_defaults(environ)
    environ |= {"PATH_INFO": "/docs"}
    del environ["SCRIPT_NAME"]
    started: list[tuple[str, dict[str, str]]] = []

    def start(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], object]:
        started.append((status, dict(headers)))
        return lambda data: None

    web = Web(static=folder, health=dict, is_endpoint=lambda path: False)
    body = web(environ, start)
    assert b"".join(body)
    assert started[0][0].startswith("307 ")
    assert started[0][1]["Location"] == "/docs/"


def test_well_known_files_are_for_the_public(tmp_path: Path) -> None:
    """Fault: the folder of RFC 8615, which certificates and app links need, got 404 like every name with a dot."""
    for name in (".well-known/assetlinks.json", ".well-known/.secret", "a/.well-known/x", ".env"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    paths = ("/.well-known/assetlinks.json", "/.well-known/.secret", "/a/.well-known/x", "/.env", "/.well-known/")
    assert [client(tmp_path).get(path).status_code for path in paths] == [200, 404, 404, 404, 404]
