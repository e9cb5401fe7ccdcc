"""A picture as an image: in an HTML page, and as PNG."""

from __future__ import annotations

from base64 import b64encode
from html import escape

from nsbox.errors import SpecError, UnsupportedError
from nsbox.views.svg import Document, Theme

__all__ = ["can_png", "html", "png"]

_FONT_SIZE = 14
"""The size of the text in a page, in pixels, at which a picture has its own size: that of JupyterLab."""

# JupyterLab, pages of nbconvert, VS Code and Colab mark their theme by these names. An image gets the colour scheme of
# its element (CSS Color Adjustment 1, section 2.2). Elsewhere it follows the page or the browser.
_LIGHT = ('[data-jp-theme-light="true"]', ".vscode-light")
_DARK = ('[data-jp-theme-light="false"]', ".vscode-dark", '[theme="dark"]')
_STYLE = "".join(
    [
        *(f"{page} .nsbox-picture{{color-scheme:light}}" for page in _LIGHT),
        *(f"{page} .nsbox-picture{{color-scheme:dark}}" for page in _DARK),
        # On paper it is light, and is scaled down to one page if it would continue on the next one.
        "@media print{img.nsbox-picture.nsbox-picture{color-scheme:light;break-inside:avoid;max-height:95vh;"
        "object-fit:contain;object-position:left top}}",
    ]
)


def html(picture: Document) -> str:
    """Return it as an image in an HTML page. It has no scripts, and is whole where styles are removed.

    Its size follows the font of the page, and it is never wider than the page.
    """
    data = b64encode(picture.svg().encode()).decode()
    alternative = escape(f"{picture.title}. {picture.description}".strip())
    size = f"width:{picture.width / _FONT_SIZE:.4g}em;max-width:100%;height:auto"
    source = f"data:image/svg+xml;base64,{data}"
    return f'<style>{_STYLE}</style>\n<img class="nsbox-picture" alt="{alternative}" style="{size}" src="{source}"/>'


def can_png() -> bool:
    """Return whether the library that draws PNG is installed."""
    try:
        import resvg_py  # noqa: F401, PLC0415
    except ImportError:
        return False
    return True


def png(picture: Document, theme: Theme = "light", scale: float = 2) -> bytes:
    """Draw it as PNG, with the fonts of this machine.

    Args:
        picture: The picture.
        theme: Its colours; "auto" is light.
        scale: Pixels of the image for each pixel of the picture.

    Raises:
        SpecError: for an unknown theme, and a scale that is not positive.
        UnsupportedError: if resvg_py is not installed.
    """
    try:
        from resvg_py import svg_to_bytes  # noqa: PLC0415
    except ImportError:
        raise UnsupportedError("PNG needs resvg_py. Install it: pip install 'nsbox[png]'") from None
    size = round(picture.width * scale)
    if size < 1:
        raise SpecError(f"scale: expected a positive number, got {scale!r}")
    document = picture.svg("light" if theme == "auto" else theme)
    return bytes(svg_to_bytes(svg_string=document, width=size))
