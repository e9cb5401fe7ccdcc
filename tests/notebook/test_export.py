"""Pictures in what nbconvert makes of a notebook: PNG for LaTeX, and an image in HTML."""

from __future__ import annotations

import base64

import nbformat
import pytest
from nbconvert import HTMLExporter, LatexExporter
from nsbox.seeing.tree import ProcessTree
from traitlets.config import Config

from tests.support.records import process

pytestmark = pytest.mark.pure


def test_pictures_are_exported() -> None:
    """LaTeX gets the PNG, which it takes without other programs; a page gets the image that follows its theme."""
    bundle = ProcessTree([process(1, 0, "init")])._repr_mimebundle_()
    output = nbformat.v4.new_output("display_data", bundle)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("pstree()", outputs=[output])])
    # By default it converts SVG by inkscape, although there is PNG: docs/notebooks.md names this option.
    config = Config({"SVG2PDFPreprocessor": {"enabled": False}})
    text, resources = LatexExporter(config=config).from_notebook_node(notebook)
    ((name, data),) = ((name, data) for name, data in resources["outputs"].items() if name in text)
    assert name.endswith(".png")
    assert data == base64.b64decode(bundle["image/png"])
    page, _ = HTMLExporter(theme="dark").from_notebook_node(notebook)
    # The page has been through a parser of HTML, which writes attributes in its own way.
    style, image = bundle["text/html"].split("\n")
    assert style in page
    assert image[image.index("src=") :].removesuffix("/>") in page
    assert 'data-jp-theme-light="false"' in page
