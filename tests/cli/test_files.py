"""`--json`, `--svg` and `--html` of the commands that show something."""

from __future__ import annotations

import json
import os
import xml.dom.minidom
from pathlib import Path

import pytest
from nsbox.cli import main


def output_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_ps_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    me = str(os.getpid())
    (row,) = json.loads(output_of(["ps", "--json", "-p", me], capsys))["processes"]
    assert (row["pid"], row["ppid"]) == (os.getpid(), os.getppid())
    assert isinstance(row["%cpu"], float)
    assert isinstance(row["command"], str)
    (row,) = json.loads(output_of(["ps", "--json", "-p", me, "-o", "pid,inside,pidns"], capsys))["processes"]
    assert row == {"pid": os.getpid(), "inside": None, "pidns": os.stat("/proc/self/ns/pid").st_ino}


def test_pstree_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    me = os.getpid()
    found = json.loads(output_of(["pstree", "--json", "-s", str(me)], capsys))["processes"]
    by_pid = {process["pid"]: process for process in found}
    assert [process["depth"] for process in found[:2]] == [0, 1]
    assert by_pid[me]["parent"] == os.getppid()
    assert by_pid[me]["namespaces"]["mount"] == os.stat("/proc/self/ns/mnt").st_ino
    assert by_pid[me]["thread"] is False
    assert all(one["parent"] is None or one["parent"] in by_pid for one in found)


@pytest.mark.parametrize("command", ["ps", "pstree", "lsns"])
def test_files(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    me = str(os.getpid())
    shown = str(os.stat("/proc/self/ns/pid").st_ino) if command == "lsns" else me
    words = [command, me] if command == "pstree" else [command, "-p", me]
    svg, html = tmp_path / "it.svg", tmp_path / "it.html"
    assert output_of([*words, f"--svg={svg}", "--html", str(html)], capsys) == ""
    picture = xml.dom.minidom.parse(str(svg)).documentElement
    assert picture is not None
    assert picture.tagName == "svg"
    assert shown in svg.read_text()
    page = html.read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert ("<svg" if command == "pstree" else "<table") in page
    assert shown in page
    assert output_of([*words, "--svg", "-"], capsys) == svg.read_text() or command != "pstree"
    assert main([*words, "--svg", "/nonexistent/it.svg"]) == 1
    assert f"nsbox {command}: /nonexistent/it.svg: No such file or directory" in capsys.readouterr().err


def test_members_of_a_namespace_as_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    namespace = str(os.stat("/proc/self/ns/uts").st_ino)
    html = tmp_path / "it.html"
    assert output_of(["lsns", namespace, "--html", str(html)], capsys) == ""
    assert f">{os.getpid()}<" in html.read_text()


def test_one_picture_for_one_tree(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pstree", "--svg", "-", "-N", "pid"]) == 1
    assert "--svg: a picture shows one tree" in capsys.readouterr().err
