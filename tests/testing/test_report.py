"""Results as text, JUnit's XML and annotations, also with hostile names."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from fws.testing.report import github, junit, line_of, summary
from fws.testing.suite import Result, Suite

HOSTILE = 'a <b> & "c" :: 100%, \\u0001 ]]>'


def results(folder: Path) -> list[Result]:
    conf = folder / "app.toml"
    conf.write_text(
        '[pipelines]\nmessage = ["echo"]\n'
        f'[[test]]\nname = "{HOSTILE.replace(chr(34), chr(92) + chr(34))}"\n'
        "script = '''\nann> connect /\nann> <&>\n'''\n"
        "[[test]]\nname = \"good\"\nscript = '''\nann> connect /\n'''\n"
    )
    return list(Suite(conf).run())


def test_junit_is_xml_with_one_case_per_test(tmp_path: Path) -> None:
    found = results(tmp_path)
    [suite] = ElementTree.fromstring(junit({"a&b.toml": found}).encode())
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("a&b.toml", "2", "1")
    failing, good = suite.findall("testcase")
    assert "<b>" in str(failing.get("name"))
    failure = failing.find("failure")
    assert failure is not None
    assert "got      <&>" in str(failure.text)
    assert good.find("failure") is None


def test_an_annotation_is_one_line_with_file_and_line(tmp_path: Path) -> None:
    lines = github(results(tmp_path)).split("\n")
    assert len(lines) == 1
    head, _, text = lines[0].partition("::")[2].partition("::")
    assert f"file={tmp_path / 'app.toml'},line=7" in head
    assert "100%25%2C" in head
    assert "%0A" in text


def test_the_summary_and_a_passing_line(tmp_path: Path) -> None:
    found = results(tmp_path)
    assert summary(found) == "1 failed, 1 ok"
    assert summary(found[1:]) == "1 ok"
    assert line_of(found[1]).startswith("  ok    good")
