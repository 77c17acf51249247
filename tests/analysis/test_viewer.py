"""The report's molecules in a real browser."""

import os
import re
import shutil
import subprocess

import pytest
from synthetic import reference, trajectory

from molflow.comparison import compare

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
# Does what a reader does, and writes into the page what the canvases show then.
READER = """
<pre id="found"></pre><script>
window.addEventListener("load", async () => {
  const canvas = document.querySelector("canvas[data-frame]");
  const others = document.querySelectorAll("canvas[data-frame]");
  const look = () => new Promise((done) => setTimeout(() => done(canvas.toDataURL()), 100));
  const press = (key) => canvas.dispatchEvent(
    new KeyboardEvent("keydown", { key, cancelable: true }));
  const point = (type, x, y, id = 1) => canvas.dispatchEvent(
    new PointerEvent(type, { pointerId: id, clientX: x, clientY: y, bubbles: true }));
  const wheel = () => canvas.dispatchEvent(
    new WheelEvent("wheel", { deltaY: -200, cancelable: true }));
  canvas.setPointerCapture = () => {};  // only true fingers can be captured
  const found = {};
  const start = await look();
  const second = others[1].toDataURL();
  const paint = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  found.painted = paint.some((value, i) => i % 4 === 3 && value > 0);
  found.differ = second !== start;
  press("ArrowRight");
  found.turned = await look() !== start;
  found.together = others[1].toDataURL() !== second;
  press("ArrowLeft");
  press("0");
  found.back = await look() === start;
  wheel();
  found.scrolls = await look() === start;
  point("pointerdown", 50, 50);
  point("pointermove", 80, 60);
  point("pointerup", 80, 60);
  const dragged = await look();
  found.dragged = dragged !== start;
  point("pointermove", 120, 90);
  found.let_go = await look() === dragged;
  canvas.focus();
  wheel();
  found.zoomed = await look() !== dragged;
  press("0");
  point("pointerdown", 50, 50, 1);
  point("pointerdown", 90, 50, 2);
  point("pointermove", 130, 50, 2);
  found.pinched = await look() !== start;
  document.getElementById("found").textContent = JSON.stringify(found);
});
</script>
"""
# A browser without a screen has no frames to wait for.
CLOCK = "<script>window.requestAnimationFrame = (draw) => setTimeout(draw, 10);</script>"


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_molecules_turn_and_zoom_without_errors(tmp_path):
    page = tmp_path / "report.html"
    compare(trajectory(300, seed=9), _saved(tmp_path), page, exact_transport=False)
    text = page.read_text().replace("<head>", "<head>" + CLOCK)
    page.write_text(text.replace("</body>", READER + "</body>"))
    words = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
        "--virtual-time-budget=8000", "--window-size=1200,900", f"--user-data-dir={tmp_path}/own",
        "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=120, check=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    assert re.search(r"<html[^>]* class=\"turning\"", done.stdout)
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout).group(1)
    keys = [
        "painted", "differ", "turned", "together", "back", "scrolls", "dragged", "let_go", "zoomed",
        "pinched",
    ]  # fmt: skip
    assert found == "{" + ",".join(f'"{key}":true' for key in keys) + "}"


def _saved(folder):
    reference(frames=900).save(folder / "ref")
    return folder / "ref"
