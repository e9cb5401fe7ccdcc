"""What tests record with plugins that have no part in pytest's own reports."""

import os
from pathlib import Path

import allure
import pytest
from conftest import POINTS
from pytest_html import extras as html

pytestmark = pytest.mark.unshare("pid mount")


@allure.step("helper with {value}")
def helper(value):
    pass


@allure.title("a title")
@pytest.mark.parametrize("number", [1])
def test_allure(number, tmp_path):
    with allure.step("outer"):
        with allure.step("inner"):
            allure.attach("a text", "of the step", allure.attachment_type.TEXT)
        helper(3)
    Path(tmp_path, "file").write_bytes(b"\xff\x00")
    allure.attach.file(str(tmp_path / "file"), "a file", allure.attachment_type.PNG)
    allure.dynamic.title("another title")
    allure.dynamic.description("a description")
    allure.dynamic.parameter("more", 4)
    allure.dynamic.link("http://127.0.0.1/", name="a link")
    allure.dynamic.tag("a tag")


def test_allure_fails():
    with allure.step("fails"):
        raise KeyError("in a step")


@pytest.mark.skipif("not config.pluginmanager.has_plugin('nsbox')", reason="ends pytest itself")
def test_allure_crashes():
    with allure.step("before the crash"):
        pass
    os._exit(3)


def test_benchmark(benchmark):
    benchmark.extra_info["unit"] = "s"
    assert benchmark.pedantic(int, rounds=5, iterations=2) == 0


def test_json(json_metadata):
    json_metadata["points"] = 3


def test_html(extras):
    extras.append(html.text("a text"))
    extras.append(html.url("http://127.0.0.1/"))


def test_metadata(metadata):
    metadata["from a test"] = "yes"


def test_stash(request):
    request.node.stash[POINTS] = {"points": 3}


def test_attribute(request):
    request.node.points = 7
