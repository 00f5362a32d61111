// A table of streams by positions with the likeliest token in each cell; a click tells one more.
const SVG = "http://www.w3.org/2000/svg";
const shown = (token) => token.replaceAll(" ", "·");
const inkOn = (hex) => {
  const part = (from) => parseInt(hex.slice(from, from + 2), 16);
  return 0.299 * part(1) + 0.587 * part(3) + 0.114 * part(5) > 140 ? "#000000" : "#FFFFFF";
};

function element(kind, className, text) {
  const made = document.createElement(kind);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function drawn(kind, attributes, text) {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function build(box, data, state) {
  const head = element("tr");
  head.append(element("th", "corner", "after"));
  data.tokens.forEach((token, at) => {
    const title = element("th", data.readAt === at ? "column read" : "column");
    title.append(element("span", "text", shown(token)), element("span", "small", String(at)));
    head.append(title);
  });
  state.cells = data.streams.map(() => []);
  const lines = data.streams.map((stream, row) => {
    const line = element("tr");
    line.append(element("th", "row", stream));
    data.tokens.forEach((_, col) => {
      const cell = element("td", "cell"), colour = data.colours[row][col];
      const rank = data.ranks[row][col];
      cell.style.background = colour;
      cell.style.color = inkOn(colour);
      cell.tabIndex = -1;
      cell.append(
        element("span", "text", shown(data.tops[row][col][0][0])),
        element("span", rank === 1 ? "small first" : "small", `#${rank}`)
      );
      cell.onmouseenter = () => state.act.tell([row, col]);
      cell.onmouseleave = () => state.act.tell(null);
      cell.onfocus = () => state.act.tell([row, col]);
      cell.onclick = () => state.act.choose([row, col]);
      cell.onkeydown = (event) => state.act.key(event, [row, col]);
      line.append(cell);
      state.cells[row].push(cell);
    });
    return line;
  });
  const body = element("tbody");
  body.append(...lines.reverse());
  const top = element("thead");
  top.append(head);
  box.querySelector("table").replaceChildren(top, body);
}

function words(data, [row, col]) {
  const [token, prob] = data.tops[row][col][0];
  return (
    `${data.streams[row]}, after “${shown(data.tokens[col])}” (position ${col}): ` +
    `“${shown(token)}” with probability ${prob.toFixed(3)}; “${shown(data.answer)}” has rank ` +
    `${data.ranks[row][col]}, the next prompt's answer ${data.controls[row][col]}.`
  );
}

function likeliest(box, data, [row, col]) {
  const lines = data.tops[row][col].map(([token, prob]) => {
    const line = element("li"), bar = element("span", "bar");
    bar.style.width = `${100 * prob}%`;
    const room = element("span", "room");
    room.append(bar);
    line.append(element("span", "text", shown(token)), room, element("span", "", prob.toFixed(3)));
    return line;
  });
  box.querySelector(".tops").replaceChildren(...lines);
  box.querySelector(".tops-title").textContent =
    `Likeliest tokens in ${data.streams[row]}, after “${shown(data.tokens[col])}” (${col})`;
}

function path(box, data, [row, col]) {
  const wide = 520, high = 210, left = 46, right = 12, top = 14, bottom = 34;
  const ranks = data.ranks.map((line) => line[col]), controls = data.controls.map((l) => l[col]);
  const most = Math.max(10, ...ranks, ...controls), n = ranks.length;
  const x = (i) => left + ((wide - left - right) * i) / Math.max(n - 1, 1);
  const y = (rank) => top + (high - top - bottom) * (Math.log(rank) / Math.log(most));
  const svg = box.querySelector("svg");
  const parts = [];
  for (let tick = 1; tick <= most; tick *= 10) {
    const at = { x1: left, x2: wide - right, y1: y(tick), y2: y(tick), class: "grid" };
    parts.push(drawn("line", at));
    const place = { x: left - 6, y: y(tick) + 4, "text-anchor": "end" };
    parts.push(drawn("text", place, String(tick)));
  }
  parts.push(
    drawn("line", { x1: x(row), x2: x(row), y1: top, y2: high - bottom, class: "here" })
  );
  const every = Math.ceil((46 * n) / (wide - left - right));
  data.streams.forEach((stream, i) => {
    const place = { x: x(i), y: high - bottom + 16, "text-anchor": "middle" };
    if (i % every === 0 && i + every < n + every - 1 || i === n - 1)
      parts.push(drawn("text", place, stream.replace("final_post", "final")));
  });
  const line = (values, kind) =>
    drawn("polyline", { points: values.map((v, i) => `${x(i)},${y(v)}`).join(" "), class: kind });
  parts.push(line(controls, "control"), line(ranks, "answer"));
  ranks.forEach((rank, i) => {
    const dot = drawn("circle", { cx: x(i), cy: y(rank), r: i === row ? 5 : 3, class: "dot" });
    dot.append(drawn("title", {}, `${data.streams[i]}: rank ${rank}`));
    parts.push(dot);
  });
  svg.setAttribute("viewBox", `0 0 ${wide} ${high}`);
  svg.setAttribute("aria-label", `Rank from the first stream to the last: ${ranks.join(", ")}`);
  svg.replaceChildren(...parts);
  box.querySelector(".path-title").textContent =
    `Rank of “${shown(data.answer)}” after “${shown(data.tokens[col])}” (${col}), 1 is the top; ` +
    "dashed: the next prompt's answer";
}

function paint(box, data, state) {
  state.cells.forEach((line, row) =>
    line.forEach((cell, col) => {
      const here = row === state.cell[0] && col === state.cell[1];
      cell.classList.toggle("chosen", here);
      cell.tabIndex = here ? 0 : -1;
      cell.setAttribute("aria-selected", String(here));
    })
  );
  likeliest(box, data, state.cell);
  path(box, data, state.cell);
  state.act.tell(null);
}

export default function (component) {
  const { parentElement, data, setTriggerValue } = component;
  const box = parentElement.querySelector(".box");
  const state = box.kept || (box.kept = {});
  state.cell = data.selected;
  const choose = (cell) => {
    state.cell = cell;
    setTriggerValue("cell", { stream: data.streams[cell[0]], position: cell[1] });
    paint(box, data, state);
  };
  state.act = {
    choose,
    tell: (cell) => {
      box.querySelector(".word").textContent = words(data, cell ?? state.cell);
    },
    key: (event, [row, col]) => {
      const moves = {
        ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, 0], ArrowDown: [-1, 0],
      };
      const move = moves[event.key];
      if (move) state.cells[row + move[0]]?.[col + move[1]]?.focus();
      else if (event.key === "Enter" || event.key === " ") choose([row, col]);
      else return;
      event.preventDefault();
    },
  };
  if (state.id !== data.id) {
    state.id = data.id;
    build(box, data, state);
    const scroll = box.querySelector(".scroll"), cell = state.cells[data.selected[0]][data.selected[1]];
    scroll.scrollLeft = cell.offsetLeft + cell.offsetWidth - scroll.clientWidth + 8;
  }
  paint(box, data, state);
}
