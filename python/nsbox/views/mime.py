"""The MIME types in which notebooks show objects (IPython, "Integrating your objects with IPython")."""

from __future__ import annotations

from abc import abstractmethod
from html import escape

__all__ = ["Picture", "Table", "Text"]


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
        """Return it as an HTML table, with attributes only: no styles, classes, ids or scripts."""

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        del include, exclude
        return {"text/plain": str(self), "text/html": self.html()}


class Picture:
    """An object that is shown as text in a terminal, and as a picture on a page."""

    __slots__ = ()

    @abstractmethod
    def svg(self) -> str:
        """Return it as an SVG document, with presentation attributes only."""

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        del include, exclude
        # Without HTML, as most pages would show that instead.
        return {"text/plain": str(self), "image/svg+xml": self.svg()}
