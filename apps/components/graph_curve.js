// Draws faithfulness by size of the circuit, and where the threshold stands on it.
const CURVE_HIGH = 170, INSET = { left: 46, right: 10, top: 10, bottom: 34 };

function paintCurve(canvas, curve, share, exact, ink, colours) {
  if (!curve) {
    canvas.style.display = "none";
    return;
  }
  const width = canvas.clientWidth || 700;
  const pen = fitted(canvas, width, CURVE_HIGH);
  const bottom = CURVE_HIGH - INSET.bottom, right = width - INSET.right;
  const first = Math.log(curve.low), last = Math.log(1);
  const x = (value) =>
    INSET.left + ((Math.log(Math.max(value, curve.low)) - first) / (last - first)) * (right - INSET.left);
  const [y0, y1] = curve.yLimits;
  const y = (value) =>
    bottom - ((Math.min(Math.max(value, y0), y1) - y0) / (y1 - y0)) * (bottom - INSET.top);
  const line = (values, colour, dash, thick) => {
    pen.strokeStyle = colour;
    pen.lineWidth = thick;
    pen.setLineDash(dash);
    pen.beginPath();
    curve.share.forEach((s, i) => (i ? pen.lineTo(x(s), y(values[i])) : pen.moveTo(x(s), y(values[i]))));
    pen.stroke();
    pen.setLineDash([]);
  };
  const band = (low, high, colour) => {
    pen.fillStyle = colour;
    pen.globalAlpha = 0.22;
    pen.beginPath();
    curve.share.forEach((s, i) => (i ? pen.lineTo(x(s), y(low[i])) : pen.moveTo(x(s), y(low[i]))));
    for (let i = curve.share.length - 1; i >= 0; i--) pen.lineTo(x(curve.share[i]), y(high[i]));
    pen.fill();
    pen.globalAlpha = 1;
  };
  pen.font = "11px sans-serif";
  pen.textBaseline = "middle";
  axes(pen, x, y, curve, ink, bottom, right);
  band(curve.randomLow, curve.randomHigh, colours.grey);
  line(curve.random, colours.grey, [2, 2], 1.5);
  band(curve.low95, curve.high95, colours.curve);
  line(curve.mean, colours.curve, [], 2);
  line(curve.rest, colours.rest, [6, 3], 1.5);
  pen.strokeStyle = ink;
  pen.lineWidth = 1.5;
  pen.beginPath();
  pen.moveTo(x(share), INSET.top);
  pen.lineTo(x(share), bottom);
  pen.stroke();
  if (exact) exactMark(pen, x(exact.share), y, exact, ink);
}

function axes(pen, x, y, curve, ink, bottom, right) {
  pen.strokeStyle = pen.fillStyle = ink;
  pen.lineWidth = 1;
  pen.textAlign = "right";
  for (const value of [0, 0.5, 1]) {
    pen.fillText(String(value), INSET.left - 6, y(value));
    pen.globalAlpha = 0.25;
    pen.beginPath();
    pen.moveTo(INSET.left, y(value));
    pen.lineTo(right, y(value));
    pen.stroke();
    pen.globalAlpha = 1;
  }
  pen.textAlign = "center";
  for (const value of [0.001, 0.01, 0.1, 1])
    if (value >= curve.low) pen.fillText(`${100 * value} %`, Math.min(x(value), right - 14), bottom + 10);
  pen.fillText("share of all edges", (INSET.left + right) / 2, bottom + 25);
  pen.save();
  pen.translate(9, (INSET.top + bottom) / 2);
  pen.rotate(-Math.PI / 2);
  pen.fillText("faithfulness", 0, 0);
  pen.restore();
}

function exactMark(pen, at, y, exact, ink) {
  pen.strokeStyle = pen.fillStyle = ink;
  pen.lineWidth = 2;
  pen.beginPath();
  pen.moveTo(at, y(exact.low));
  pen.lineTo(at, y(exact.high));
  pen.stroke();
  pen.beginPath();
  pen.arc(at, y(exact.mean), 5, 0, 2 * Math.PI);
  pen.fill();
}
