"""A real browser outside the cluster: Chromium in a container of its own on the nodes' network, driven from here."""

from rookery.browser.container import browser_on
from rookery.browser.webdriver import Browser

__all__ = ["Browser", "browser_on"]
