// Heat maps side by side, with one hover for all of them, and tables below. Text is never markup.
const LEFT = 64, BOTTOM = 66, TOP = 22, RIGHT = 6;

function shape(canvas, map) {
  const width = canvas.clientWidth || 380;
  const cell = (width - LEFT - RIGHT) / map.cols.length;
  const high = Math.max(9, Math.min(26, cell));
  return { width, cell, high, height: TOP + high * map.rows.length + BOTTOM };
}

function cut(pen, text, room) {
  if (pen.measureText(text).width <= room) return text;
  let kept = [...text];
  while (kept.length > 1 && pen.measureText(kept.join("") + "…").width > room) kept.pop();
  return kept.join("") + "…";
}

function paint(canvas, map, at) {
  const box = shape(canvas, map);
  const scale = window.devicePixelRatio || 1;
  canvas.style.height = box.height + "px";
  canvas.width = Math.round(box.width * scale);
  canvas.height = Math.round(box.height * scale);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const ink = getComputedStyle(canvas.parentElement).color;
  map.colours.forEach((row, r) =>
    row.forEach((colour, c) => {
      pen.fillStyle = colour;
      pen.fillRect(LEFT + box.cell * c, TOP + box.high * r, box.cell + 0.5, box.high + 0.5);
    })
  );
  pen.fillStyle = ink;
  pen.font = "bold 12px sans-serif";
  pen.textBaseline = "middle";
  pen.fillText(map.title, LEFT, 10);
  pen.font = "11px sans-serif";
  pen.textAlign = "right";
  const eachRow = Math.ceil(12 / box.high), eachCol = Math.ceil(12 / box.cell);
  for (let r = 0; r < map.rows.length; r += eachRow)
    pen.fillText(cut(pen, map.rows[r], LEFT - 8), LEFT - 4, TOP + box.high * (r + 0.5));
  for (let c = 0; c < map.cols.length; c += eachCol) {
    pen.save();
    pen.translate(LEFT + box.cell * (c + 0.5), TOP + box.high * map.rows.length + 4);
    pen.rotate(-Math.PI / 2);
    pen.fillText(cut(pen, map.cols[c], BOTTOM - 8), 0, 0);
    pen.restore();
  }
  if (at && at[0] < map.rows.length && at[1] < map.cols.length) {
    pen.strokeStyle = "#E69F00";
    pen.lineWidth = 2;
    pen.strokeRect(
      LEFT + box.cell * at[1], TOP + box.high * at[0], box.cell, box.high
    );
  }
}

function under(canvas, map, event) {
  const box = shape(canvas, map);
  const bounds = canvas.getBoundingClientRect();
  const col = Math.floor((event.clientX - bounds.left - LEFT) / box.cell);
  const row = Math.floor((event.clientY - bounds.top - TOP) / box.high);
  const inside = col >= 0 && col < map.cols.length && row >= 0 && row < map.rows.length;
  return inside ? [row, col] : null;
}

function words(maps, index, at) {
  if (!at) return "";
  const map = maps[index];
  const values = maps.map((other) => {
    const row = other.values[at[0]];
    const value = row && row[at[1]];
    return `${other.title} ${value === null || value === undefined ? "-" : value.toPrecision(3)}`;
  });
  return (
    `${map.rowTitle} ${at[0]} ${map.rows[at[0]]}, ${map.colTitle} ${at[1]} ${map.cols[at[1]]}: ` +
    `${values.join(", ")} (${map.unit})`
  );
}

function element(tag, text) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  return made;
}

function drawTable(data) {
  const table = element("table");
  if (data.title) table.append(element("caption", data.title));
  for (const [tag, rows] of [["th", [data.columns]], ["td", data.rows]])
    for (const row of rows) {
      const line = element("tr");
      row.forEach((text) => line.append(element(tag, text)));
      table.append(line);
    }
  return table;
}

export default function (component) {
  const { parentElement, data } = component;
  const root = parentElement.querySelector(".panels");
  const grid = element("div");
  grid.className = "maps";
  const word = element("div");
  word.className = "word";
  word.setAttribute("role", "status");
  const title = element("div", data.title);
  title.className = "cell-title";
  title.setAttribute("role", "heading");
  title.setAttribute("aria-level", "3");
  const canvases = data.maps.map(() => element("canvas"));
  let pinned = null;
  const repaint = (at) => canvases.forEach((canvas, i) => paint(canvas, data.maps[i], at));
  const point = (index, at) => {
    repaint(at || pinned);
    word.textContent = words(data.maps, index, at || pinned);
  };
  canvases.forEach((canvas, i) => {
    const map = data.maps[i];
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    canvas.setAttribute(
      "aria-label", `${map.title}: ${map.rowTitle} by ${map.colTitle}. Arrow keys move.`
    );
    canvas.onmousemove = (event) => point(i, under(canvas, map, event));
    canvas.onmouseleave = () => point(i, null);
    canvas.onclick = (event) => {
      pinned = under(canvas, map, event);
      point(i, pinned);
    };
    canvas.onkeydown = (event) => {
      const moves = {
        ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0],
      };
      const move = moves[event.key];
      if (!move) return;
      const at = pinned || [0, 0];
      pinned = [
        Math.min(Math.max(at[0] + move[0], 0), map.rows.length - 1),
        Math.min(Math.max(at[1] + move[1], 0), map.cols.length - 1),
      ];
      point(i, pinned);
      event.preventDefault();
    };
    grid.append(canvas);
  });
  root.replaceChildren(title, grid, ...(canvases.length ? [word] : []), ...data.tables.map(drawTable));
  repaint(null);
  const watcher = new ResizeObserver(() => repaint(pinned));
  watcher.observe(root);
  return () => watcher.disconnect();
}
