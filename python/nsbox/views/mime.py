"""The MIME types in which notebooks show objects (IPython, "Integrating your objects with IPython")."""

from __future__ import annotations

from abc import abstractmethod
from base64 import b64encode
from html import escape

from nsbox.views import image
from nsbox.views.svg import Document, Theme

__all__ = ["MAX_WIDTH", "Drawable", "Picture", "Table", "Text"]

MAX_WIDTH = 1000
"""The maximum width of a picture in pixels, for pictures that can become higher instead."""


class Text:
    """An object that is shown as lines in a terminal, and as a paragraph on a page."""

    __slots__ = ()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        del include, exclude
        return {"text/plain": str(self), "text/html": f"<p>{'<br/>'.join(map(escape, str(self).splitlines()))}</p>"}


class Table:
    """An object that is shown as text in a terminal, and as a table on a page."""

    __slots__ = ()

    @abstractmethod
    def html(self) -> str:
        """Return it as an HTML table, without classes, ids or scripts."""

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        del include, exclude
        return {"text/plain": str(self), "text/html": self.html()}


class Drawable:
    """An object of which there is a picture."""

    __slots__ = ()

    @abstractmethod
    def drawn(self, *, legend: bool = True, width: int = MAX_WIDTH) -> Document:
        """Draw it.

        Args:
            legend: Whether the picture explains its signs, if there is room for it.
            width: The maximum width in pixels, for pictures that can become higher instead.
        """

    def svg(self, *, legend: bool = True, width: int = MAX_WIDTH, theme: Theme = "auto") -> str:
        """Draw it as an SVG document, which can be read where styles are removed, too.

        Args:
            legend: Whether the picture explains its signs, if there is room for it.
            width: The maximum width in pixels, for pictures that can become higher instead.
            theme: The colours: ``"light"``, ``"dark"``, or ``"auto"`` for those of the page.

        Raises:
            SpecError: for an unknown theme.
        """
        return self.drawn(legend=legend, width=width).svg(theme)

    def png(
        self, *, legend: bool = True, width: int = MAX_WIDTH, theme: Theme = "light", scale: float = 2
    ) -> bytes:  # fmt: skip
        """Draw it as PNG, with the fonts of this machine (resvg_py, extra ``png``).

        Args:
            legend: Whether the picture explains its signs, if there is room for it.
            width: The maximum width in pixels before it is scaled, for pictures that can become higher instead.
            theme: The colours: ``"light"`` or ``"dark"``; ``"auto"`` is light.
            scale: Pixels of the image for each pixel of the picture.

        Raises:
            SpecError: for an unknown theme, and a scale that is not positive.
            UnsupportedError: if resvg_py is not installed.
        """
        return image.png(self.drawn(legend=legend, width=width), theme, scale)


class Picture(Drawable):
    """An object that is shown as text in a terminal, and as a picture on a page."""

    __slots__ = ()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        del include, exclude
        picture = self.drawn()
        # JupyterLab shows the HTML, as it follows its theme and font; GitHub the SVG. LaTeX takes only PNG.
        bundle = {"text/plain": str(self), "text/html": image.html(picture), "image/svg+xml": picture.svg()}
        return bundle | ({"image/png": b64encode(image.png(picture)).decode()} if image.can_png() else {})
