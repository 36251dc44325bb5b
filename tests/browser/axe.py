"""What axe-core has against a page."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}


def faults(page: Page) -> list[str]:
    """Each fault as its rule and the elements that break it."""
    found = Axe().run(page, options=RULES).response
    assert len(found["passes"]) > 5, "axe has looked at nothing"
    return [f"{one['id']}: {', '.join(str(node['html'])[:160] for node in one['nodes'][:4])}"
            for one in found["violations"]]  # fmt: skip
