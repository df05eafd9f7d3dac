"""A pointer all over the timeline of a page, in a real browser."""

# What the page tells of places all over the lanes: (x in pixels, text) for each that it tells something of.
HOVERED = """
const done = arguments[0], canvas = document.querySelector("canvas.lanes"), rect = canvas.getBoundingClientRect();
const tip = document.getElementById("tip"), told = [];
for (let y = 5; y < rect.height; y += 10)
  for (let x = 160; x < rect.width - 20; x += 10) {
    const at = { clientX: rect.left + x, clientY: rect.top + y, bubbles: true };
    canvas.dispatchEvent(new PointerEvent("pointermove", at));
    if (tip.offsetHeight > 0) told.push([x, tip.textContent]);
  }
done(told);
"""


def hovered(browser):
    """What the page tells: (x in pixels, text) for each place of which it tells something."""
    return browser.ask(HOVERED)
