"""What the theme's pages lack for readers without a mouse or a screen, found by axe-core (tests/test_pages.py)."""

from __future__ import annotations

from typing import Any


def _complete(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Give headings of the side bar their level, and let the keyboard scroll code and tables."""
    for part in ("body", "furo_navigation_tree", "toc"):
        if isinstance(text := context.get(part), str):
            text = text.replace('role="heading">', 'role="heading" aria-level="2">')
            text = text.replace('<div class="table-wrapper', '<div tabindex="0" class="table-wrapper')
            context[part] = text.replace("<pre>", '<pre tabindex="0">')


def setup(app: Any) -> dict[str, bool]:
    """Come after the theme, which makes the side bar as late."""
    app.connect("html-page-context", _complete, priority=900)
    return {"parallel_read_safe": True}
