// Small parts of the graph: the slider's scale, elements of text, and distances to curves.
const NOTCHES = 1000;

function thresholdAt(graph, notch) {
  if (notch <= 0) return graph.low;
  const value = graph.least * Math.pow(graph.high / graph.least, notch / NOTCHES);
  const digits = Number(value.toPrecision(4));
  return Math.min(Math.max(digits, graph.least), graph.high);
}

function notchOf(graph, threshold) {
  if (threshold < graph.least || graph.high <= graph.least) return 0;
  return Math.round((NOTCHES * Math.log(threshold / graph.least)) / Math.log(graph.high / graph.least));
}

function element(tag, text, parent, role) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (role) made.className = role;
  parent.append(made);
  return made;
}

// Sample lines with words; each is (words, colour, kind of line).
function legend(place, entries) {
  place.replaceChildren();
  for (const [words, colour, line] of entries) {
    const entry = element("span", "", place);
    element("i", "", entry).style.cssText = `border-top-color: ${colour}; border-top-style: ${line}`;
    entry.append(words);
  }
}

function bezier(box, points, p, t) {
  const s = 1 - t;
  const at = (k) =>
    s * s * s * points[p + k] + 3 * s * s * t * points[p + 2 + k] +
    3 * s * t * t * points[p + 4 + k] + t * t * t * points[p + 6 + k];
  return [box.x(at(0)), box.y(at(1))];
}

function distant(box, points, p, x, y, room) {
  const xs = [0, 2, 4, 6].map((k) => box.x(points[p + k]));
  const ys = [1, 3, 5, 7].map((k) => box.y(points[p + k]));
  return (
    x < Math.min(...xs) - room || x > Math.max(...xs) + room ||
    y < Math.min(...ys) - room || y > Math.max(...ys) + room
  );
}
