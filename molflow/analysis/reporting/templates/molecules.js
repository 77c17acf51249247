// Balls and sticks on canvases that turn together: drag, arrow keys or one finger to turn; wheel,
// + and - or two fingers to zoom; 0 or a double click to start again.
"use strict";
(() => {
  const scene = JSON.parse(document.getElementById("scene").textContent);
  const canvases = [...document.querySelectorAll("canvas[data-frame]")];
  const start = [1, 0, 0, 0, 1, 0, 0, 0, 1];
  let turned = start, zoom = 1, waiting = false;

  const product = (a, b) => start.map((_, k) => {
    const row = 3 * Math.floor(k / 3), column = k % 3;
    return a[row] * b[column] + a[row + 1] * b[column + 3] + a[row + 2] * b[column + 6];
  });
  const turn = (aboutY, aboutX) => {
    const [c, s, d, t] = [Math.cos(aboutY), Math.sin(aboutY), Math.cos(aboutX), Math.sin(aboutX)];
    turned = product(product([1, 0, 0, 0, d, -t, 0, t, d], [c, 0, s, 0, 1, 0, -s, 0, c]), turned);
    refresh();
  };
  const scale = (factor) => {
    zoom = Math.min(6, Math.max(0.4, zoom * factor));
    refresh();
  };
  const reset = () => {
    turned = start;
    zoom = 1;
    refresh();
  };

  // A colour, blended with white paper by the share `fog` and then darkened or lightened.
  const shade = (hex, fog, light) => {
    const parts = [1, 3, 5].map((k) => {
      const value = parseInt(hex.slice(k, k + 2), 16) * light;
      return Math.round(Math.min(255, value) * (1 - fog) + 255 * fog);
    });
    return `rgb(${parts})`;
  };

  const draw = (canvas) => {
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width || !height) return;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const frame = scene.frames[canvas.dataset.frame], reach = scene.extent;
    const size = zoom * 0.5 * Math.min(width, 1.2 * height) / reach, eye = 5 * reach;
    const atoms = scene.elements.map((element, i) => {
      const [x, y, z] = frame.slice(3 * i, 3 * i + 3);
      const at = [0, 3, 6].map((k) => turned[k] * x + turned[k + 1] * y + turned[k + 2] * z);
      const near = size * eye / Math.max(0.2 * eye, eye - at[2]);
      return {
        element, colour: scene.colours[i], near, z: at[2], at, ball: scene.radii[i],
        radius: scene.radii[i] * near,
        // Pixels count downwards, so y changes its sign: the hand of the molecule stays.
        x: width / 2 + at[0] * near, y: height / 2 - at[1] * near,
        fog: scene.fog * Math.min(1, Math.max(0, 0.5 - at[2] / (2 * reach))),
      };
    });
    const parts = atoms.map((atom) => ({ z: atom.z, atom }));
    for (const [a, b] of scene.bonds) {
      const [one, other] = [atoms[a], atoms[b]];
      const middle = { x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 };
      const z = (one.z + other.z) / 2;
      const length = 0.5 * Math.hypot(...one.at.map((value, k) => value - other.at[k]));
      for (const end of [one, other]) parts.push({ z, end, middle, length });
    }
    parts.sort((a, b) => a.z - b.z);
    for (const part of parts) part.atom ? ball(pen, part.atom) : stick(pen, part);
  };

  const stick = (pen, { end, middle, length }) => {
    // A stick starts on the ball, or one that comes nearer would cover it.
    const share = Math.min(1, 0.9 * end.ball / length);
    const from = [end.x + share * (middle.x - end.x), end.y + share * (middle.y - end.y)];
    const width = 2 * scene.stick * end.near;
    for (const [colour, wide] of [["#404040", width + 1.4], [shade(end.colour, end.fog, 1), width]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = wide;
      pen.beginPath();
      pen.moveTo(...from);
      pen.lineTo(middle.x, middle.y);
      pen.stroke();
    }
  };

  const ball = (pen, atom) => {
    const { x, y, radius } = atom;
    const light = pen.createRadialGradient(
      x - 0.35 * radius, y - 0.35 * radius, 0.1 * radius, x, y, radius);
    light.addColorStop(0, shade(atom.colour, Math.max(atom.fog, 0.35), 1));
    light.addColorStop(0.55, shade(atom.colour, atom.fog, 1));
    light.addColorStop(1, shade(atom.colour, atom.fog, 0.78));
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
    pen.fillStyle = light;
    pen.fill();
    pen.lineWidth = 0.8;
    pen.strokeStyle = "#404040";
    pen.stroke();
    if (atom.element === "H" || atom.element === "C" || radius < 4) return;
    pen.fillStyle = "#ffffff";
    pen.font = `600 ${1.25 * radius}px system-ui, sans-serif`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.fillText(atom.element, x, y + 0.06 * radius);
  };

  const refresh = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      canvases.forEach(draw);
    });
  };

  const keys = {
    ArrowLeft: () => turn(-0.15, 0), ArrowRight: () => turn(0.15, 0),
    ArrowUp: () => turn(0, -0.15), ArrowDown: () => turn(0, 0.15),
    "+": () => scale(1.15), "=": () => scale(1.15), "-": () => scale(1 / 1.15), 0: reset,
  };
  const fingers = new Map();
  const apart = () => {
    const [a, b] = [...fingers.values()];
    return Math.hypot(a.x - b.x, a.y - b.y);
  };
  for (const canvas of canvases) {
    canvas.addEventListener("pointerdown", (event) => {
      canvas.focus();
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const now = { x: event.clientX, y: event.clientY };
      const spread = fingers.size === 2 ? apart() : 0;
      fingers.set(event.pointerId, now);
      if (fingers.size === 2) scale(apart() / Math.max(1, spread));
      else if (fingers.size === 1) turn((now.x - before.x) / 90, (now.y - before.y) / 90);
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
    }
    // The page scrolls over a molecule that nobody has chosen.
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas) return;
      event.preventDefault();
      scale(Math.exp(-event.deltaY / 500));
    }, { passive: false });
    canvas.addEventListener("dblclick", reset);
    canvas.addEventListener("keydown", (event) => {
      if (!keys[event.key] || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      keys[event.key]();
    });
    new ResizeObserver(refresh).observe(canvas);
  }
  document.documentElement.classList.add("turning");
  refresh();
})();
