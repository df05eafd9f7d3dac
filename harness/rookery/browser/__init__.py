"""A real browser outside the cluster: Chromium in a container of its own on the nodes' network, driven from here.

Needs selenium, the extra `browser`.
"""

from rookery.browser.container import browser_on

__all__ = ["browser_on"]
