"""`fws test` and `fws check` on files of tests, as a user calls them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.command import ROOT, fws

CONF = '[pipelines]\nmessage = ["echo"]\n'
GOOD = "[[test]]\nname = \"good\"\nscript = '''\nann> connect /\nann> a\nann< a\n'''\n"
BAD = "[[test]]\nname = \"bad\"\nscript = '''\nann> connect /\nann> a\nann< b\n'''\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.toml").write_text(CONF + GOOD)
    return tmp_path


def test_all_pass(project: Path) -> None:
    done = fws("test", "app.toml", cwd=project)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith("  ok    good")
    assert done.stdout.splitlines()[-1] == "1 ok"


def test_a_failure_exits_with_1_and_tests_beside_the_file_are_played_too(project: Path) -> None:
    (project / "app_test.toml").write_text(BAD)
    for file in ("app.toml", "app_test.toml"):
        done = fws("test", file, cwd=project)
        assert done.returncode == 1
        assert done.stdout.splitlines()[-1] == "1 failed, 1 ok"
        assert "app_test.toml:6" in done.stdout
    assert fws("test", "app.toml", "-k", "good", cwd=project).returncode == 0


def test_junit_and_github(project: Path) -> None:
    (project / "app_test.toml").write_text(BAD)
    [suite] = ElementTree.fromstring(fws("test", "app.toml", "--format", "junit", cwd=project).stdout.encode())
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert fws("test", "app.toml", "--format", "github", cwd=project).stdout.startswith(
        "::error file=app_test.toml,line=6"
    )


def test_several_files_are_one_document_in_which_problems_are_errors(project: Path) -> None:
    """Each file had a document of its own, and a file with problems had none."""
    (project / "other.toml").write_text(CONF + GOOD)
    (project / "wrong.toml").write_text('[pipelines]\nmessage = ["ecko"]\n' + GOOD)
    files = ("app.toml", "other.toml", "wrong.toml")
    done = fws("test", *files, "--format", "junit", cwd=project)
    suites = ElementTree.fromstring(done.stdout.encode()).findall("testsuite")
    assert [(one.get("name"), one.get("tests"), one.get("errors")) for one in suites] == [
        ("app.toml", "1", "0"),
        ("other.toml", "1", "0"),
        ("wrong.toml", "1", "1"),
    ]
    assert "did you mean 'echo'" in str(suites[2].findtext("testcase/error"))
    github = fws("test", *files, "--format", "github", cwd=project)
    assert github.stdout.startswith("::error file=wrong.toml,line=2,title=there is no filter 'ecko'")
    assert (done.returncode, github.returncode) == (1, 1)


def test_what_filters_print_and_log_is_in_no_report(project: Path) -> None:
    """`print` in a filter came before the first line of the XML, and warnings of any logger appeared on stderr."""
    (project / "pipelines").mkdir()
    (project / "pipelines" / "noisy.py").write_text(
        "import logging\nfrom fws import Filter\nclass Noisy(Filter):\n    def message(self, client, message):\n"
        "        print('<noise>')\n        logging.getLogger('mine').warning('logged')\n"
    )
    (project / "app.toml").write_text('[pipelines]\nmessage = ["log level=error", "noisy", "echo"]\n' + GOOD)
    done = fws("test", "app.toml", "--format", "junit", cwd=project)
    assert ElementTree.fromstring(done.stdout.encode()).find("testsuite/testcase") is not None
    assert done.stderr == "<noise>\n1 ok\n"
    done = fws("test", "app.toml", cwd=project)
    assert done.stdout.startswith("<noise>\n  ok    good")
    assert done.stderr == ""


def test_one_of_several_files_with_a_test_of_that_name_is_enough(project: Path) -> None:
    (project / "other.toml").write_text(CONF + GOOD.replace('"good"', '"special"'))
    done = fws("test", "app.toml", "other.toml", "-k", "special", cwd=project)
    assert (done.returncode, done.stderr, done.stdout.splitlines()[-1]) == (0, "", "1 ok")


def test_check_shows_the_problems_of_a_configuration_and_of_its_tests_at_once(project: Path) -> None:
    """Those of the tests came only after those of the configuration had been corrected."""
    (project / "app.toml").write_text('[pipelines]\nmessage = ["ecko"]\n')
    (project / "app_test.toml").write_text("[[test]]\nname = 't'\nscript = 'hello'\n")
    for file in ("app.toml", "app_test.toml"):
        done = fws("check", file, cwd=project)
        assert done.returncode == 1
        assert "app.toml:2:12: there is no filter 'ecko'" in done.stdout
        assert "app_test.toml:3:10: 'hello' is not a statement" in done.stdout
        assert done.stdout.endswith("\n2 problems\n")


def test_no_tests_and_unknown_names_are_not_a_success(project: Path) -> None:
    (project / "app.toml").write_text(CONF)
    done = fws("test", "app.toml", cwd=project)
    assert (done.returncode, done.stdout) == (1, "")
    assert "app.toml has no tests: write a [[test]] section" in done.stderr
    (project / "app.toml").write_text(CONF + GOOD)
    assert "no test of app.toml has 'x' in its name" in fws("test", "app.toml", "-k", "x", cwd=project).stderr


def test_problems_of_both_files_are_shown_at_once_by_test_and_check(project: Path) -> None:
    (project / "app.toml").write_text(CONF + "[[test]]\nname = \"t\"\nscript = '''\nhello\n'''\nsrcipt = 1\n")
    (project / "app_test.toml").write_text("pipelines = 1\n[[test]]\nname = \"\"\nscript = ''\n")
    done = fws("test", "app.toml", cwd=project)
    assert done.returncode == 1
    for text in (
        "app.toml:6:1: 'hello' is not a statement",
        "app.toml:8:1: unknown key 'srcipt'",
        "app_test.toml:1:1: unknown key 'pipelines'",
    ):
        assert text in done.stderr
    assert "app.toml:8:1" in fws("check", "app.toml", cwd=project).stdout
    (project / "app.toml").write_text(CONF)
    assert "app_test.toml:1:1" in fws("check", "app.toml", cwd=project).stdout


def test_a_mistake_in_a_script_has_its_line(project: Path) -> None:
    (project / "app.toml").write_text(CONF + "[[test]]\nname = \"t\"\nscript = '''\nann> connect /\nhello\n'''\n")
    done = fws("check", "app.toml", cwd=project)
    assert "app.toml:7:1: 'hello' is not a statement" in done.stdout
    assert "\n    hello\n    ^\n" in done.stdout


def test_json_that_the_package_toml_misreads_is_no_problem(project: Path) -> None:
    """`toml` 0.10.2 loses a quote of `""` and whole lines in such scripts; nothing of a test is served."""
    script = 'ann> connect /\nann> {"a":"","b":"\\\\"}\n\n\nann< {"a":"", …}\n'
    (project / "app.toml").write_text(f"[[test]]\nname = \"t\"\nscript = '''\n{script}'''\n{CONF}")
    done = fws("test", "app.toml", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_hundred_tests(project: Path) -> None:
    tests = "".join(GOOD.replace('"good"', f'"good {number}"') for number in range(100))
    (project / "app_test.toml").write_text(tests)
    assert fws("test", "app.toml", cwd=project).stdout.splitlines()[-1] == "101 ok"


def test_the_shipped_files_pass() -> None:
    names = [path for path in sorted((ROOT / "conf").glob("*.toml")) if not path.stem.endswith("_test")]
    done = fws("test", *names, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    assert len(names) == done.stdout.count(" ok\n")
