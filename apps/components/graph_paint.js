// Draws nodes and edges on a canvas.
const GUTTER = 66, PAD = 8, WIDEST = 4, NARROWEST = 0.6;
const DASHES = { q: [5, 3], k: [1.5, 2.5] };

function frameOf(canvas, graph) {
  const width = canvas.clientWidth || 700;
  const [x0, x1] = graph.xLimits, [y0, y1] = graph.yLimits;
  const row = Math.max(30, Math.min(54, 620 / (y1 - y0)));
  const height = Math.round(row * (y1 - y0)) + 2 * PAD;
  const wide = (width - GUTTER - PAD) / (x1 - x0), high = (height - 2 * PAD) / (y1 - y0);
  return {
    width, height, wide, high,
    x: (x) => GUTTER + (x - x0) * wide,
    y: (y) => height - PAD - (y - y0) * high,
  };
}

function isDark(element) {
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  probe.fillStyle = getComputedStyle(element).getPropertyValue("--st-background-color") || "#fff";
  probe.fillRect(0, 0, 1, 1);
  const [r, g, b] = probe.getImageData(0, 0, 1, 1).data;
  return r + g + b < 384;
}

function fitted(canvas, width, height) {
  const scale = window.devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  const size = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

// Lines of equal look are stroked together: far fewer strokes than edges.
function paintLines(pen, box, graph, lines, colours, touched) {
  const limit = Math.abs(graph.scores[0]) || 1;
  const many = lines.length > 300;
  const looks = new Map();
  for (let k = lines.length - 1; k >= 0; k--) {
    const { e, from, to, points } = lines[k];
    const score = graph.scores[e];
    const step = Math.ceil(8 * Math.sqrt(Math.abs(score) / limit));
    const near = !touched || touched.has(from) || touched.has(to);
    const port = graph.inputs[graph.readers[e]][2];
    const dash = port === "q" || port === "k" ? port : "";
    const key = `${near ? 1 : 0}${score > 0 ? "+" : score < 0 ? "-" : "0"}${step}${dash}`;
    let look = looks.get(key);
    if (!look) {
      const colour = score > 0 ? colours.positive : score < 0 ? colours.negative : colours.grey;
      look = { path: new Path2D(), colour, near, dash, width: (WIDEST * step) / 8 };
      looks.set(key, look);
    }
    look.path.moveTo(box.x(points[0]), box.y(points[1]));
    for (let p = 2; p < points.length; p += 6)
      look.path.bezierCurveTo(
        box.x(points[p]), box.y(points[p + 1]), box.x(points[p + 2]), box.y(points[p + 3]),
        box.x(points[p + 4]), box.y(points[p + 5])
      );
  }
  const order = [...looks.values()].sort((a, b) => a.near - b.near || a.width - b.width);
  for (const look of order) {
    pen.strokeStyle = look.colour;
    pen.lineWidth = Math.max(look.width, NARROWEST);
    pen.globalAlpha = !look.near ? 0.1 : many && !touched ? 0.55 : 0.85;
    pen.setLineDash(DASHES[look.dash] || []);
    pen.stroke(look.path);
  }
  pen.globalAlpha = 1;
  pen.setLineDash([]);
}

function paintNode(pen, box, node, look) {
  const x = box.x(node.x), y = box.y(node.y);
  const wide = HALF_WIDE * box.wide, high = HALF_HIGH * box.high;
  pen.globalAlpha = look.faint ? 0.3 : 1;
  pen.beginPath();
  look.outline.forEach(([u, v], i) =>
    i ? pen.lineTo(x + u * wide, y - v * high) : pen.moveTo(x + u * wide, y - v * high)
  );
  pen.closePath();
  pen.fillStyle = look.ground;
  pen.fill();
  pen.strokeStyle = look.colour;
  pen.lineWidth = look.pinned ? 4 : node.id ? 1.4 : 2.6;
  pen.stroke();
  if (look.ring) {
    pen.strokeStyle = look.ring;
    pen.lineWidth = 2;
    pen.strokeRect(x - wide - 4, y - high - 4, 2 * wide + 8, 2 * high + 8);
  }
  pen.fillStyle = look.ink;
  pen.fillText(labelWithin(pen, node, 2 * wide - 5), x, y + 0.5);
  pen.globalAlpha = 1;
}

// Where a head's name is too wide, its row says the layer, and its box the head.
function labelWithin(pen, node, room) {
  if (node.named || pen.measureText(node.label).width <= room) return cutTo(pen, node.label, room);
  return cutTo(pen, node.label.split(".").pop(), room);
}

function cutTo(pen, text, room) {
  if (pen.measureText(text).width <= room) return text;
  let kept = Array.from(text);
  while (kept.length > 1 && pen.measureText(`${kept.join("")}…`).width > room) kept.pop();
  return `${kept.join("")}…`;
}

function paintRows(pen, box, graph, ink) {
  pen.fillStyle = ink;
  pen.globalAlpha = 0.75;
  pen.textAlign = "left";
  for (const [y, text] of graph.rowLabels) pen.fillText(text, 2, box.y(y), GUTTER - 6);
  pen.globalAlpha = 1;
  pen.textAlign = "center";
}
