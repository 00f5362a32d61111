// Draws the cells, tells the value under the mouse, and reports clicked cells to the page.
const LEFT = 56, BOTTOM = 46, TOP = 6, RIGHT = 8;

function layout(canvas, data) {
  const width = canvas.clientWidth || 600;
  const nRows = data.rows.length, nCols = data.cols.length;
  const cell = (width - LEFT - RIGHT) / nCols;
  const high = Math.max(14, Math.min(34, cell));
  return { width, height: TOP + high * nRows + BOTTOM, cell, high, nRows, nCols };
}

function draw(canvas, data, state) {
  const box = layout(canvas, data);
  const scale = window.devicePixelRatio || 1;
  canvas.style.height = box.height + "px";
  canvas.width = Math.round(box.width * scale);
  canvas.height = Math.round(box.height * scale);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const ink = getComputedStyle(canvas.parentElement).color;
  const top = (row) => TOP + box.high * (data.upward ? box.nRows - 1 - row : row);
  const outline = (cell, colour, width) => {
    if (!cell) return;
    pen.lineWidth = width;
    pen.strokeStyle = colour;
    pen.strokeRect(LEFT + box.cell * cell[1] + 1, top(cell[0]) + 1, box.cell - 2, box.high - 2);
  };
  for (let r = 0; r < box.nRows; r++)
    for (let c = 0; c < box.nCols; c++) {
      pen.fillStyle = data.colours[r][c];
      pen.fillRect(LEFT + box.cell * c, top(r), box.cell + 0.5, box.high + 0.5);
    }
  pen.fillStyle = ink;
  pen.font = "12px sans-serif";
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  const each = Math.ceil(14 / box.high);
  for (let r = 0; r < box.nRows; r += each)
    pen.fillText(data.rows[r], LEFT - 6, top(r) + box.high / 2, LEFT - 22);
  pen.textAlign = "center";
  const longest = Math.max(...data.cols.map((label) => pen.measureText(label).width)) + 6;
  const step = Math.max(1, Math.ceil(longest / box.cell));
  const below = TOP + box.high * box.nRows;
  for (let c = 0; c < box.nCols; c += step)
    pen.fillText(data.cols[c], LEFT + box.cell * (c + 0.5), below + 12);
  pen.fillText(data.colTitle, LEFT + (box.cell * box.nCols) / 2, below + 34);
  pen.save();
  pen.translate(10, TOP + (box.high * box.nRows) / 2);
  pen.rotate(-Math.PI / 2);
  pen.fillText(data.rowTitle, 0, 0);
  pen.restore();
  for (const cell of state.collected) outline(cell, "#E69F00", 3);
  outline(data.selected, "#000000", 3);
  outline(state.focus, ink, 1);
}

function cellAt(canvas, data, event) {
  const box = layout(canvas, data);
  const bounds = canvas.getBoundingClientRect();
  const col = Math.floor((event.clientX - bounds.left - LEFT) / box.cell);
  const line = Math.floor((event.clientY - bounds.top - TOP) / box.high);
  if (col < 0 || col >= box.nCols || line < 0 || line >= box.nRows) return null;
  return [data.upward ? box.nRows - 1 - line : line, col];
}

function words(data, cell) {
  if (!cell) return "";
  const value = data.values[cell[0]][cell[1]];
  const ends = data.interval && data.interval.map((bound) => bound[cell[0]][cell[1]]);
  const between =
    ends && ends[0] !== null ? ` [${ends.map((end) => end.toPrecision(3)).join(", ")}]` : "";
  const shown =
    value === null ? "not known yet" : value.toPrecision(4) + between + " " + data.unit;
  return `${data.rowTitle} ${data.rows[cell[0]]}, ${data.colTitle} ${data.cols[cell[1]]}: ${shown}`;
}

// The server says which cells it keeps, unless it has not heard yet of what was collected here.
function adopt(state, kept) {
  if (!kept) return;
  const told = JSON.stringify(kept);
  if (state.reported === null || state.reported === told) {
    state.collected = kept;
    state.reported = null;
  }
}

export default function (component) {
  const { parentElement, data, setStateValue } = component;
  const canvas = parentElement.querySelector("canvas");
  const word = parentElement.querySelector(".word");
  const state = canvas.kept || (canvas.kept = { collected: [], focus: null, reported: null });
  adopt(state, data.kept);
  canvas.setAttribute(
    "aria-label",
    `Heat map, ${data.rowTitle} by ${data.colTitle}. Arrow keys move, Enter opens a cell, ` +
      "Shift and Enter collects it."
  );
  const paint = () => draw(canvas, data, state);
  const tell = (cell) => {
    word.textContent = words(data, cell);
  };
  const choose = (cell, collecting) => {
    if (!cell) return;
    if (!collecting) {
      setStateValue("cell", cell);
      return;
    }
    const same = (other) => other[0] === cell[0] && other[1] === cell[1];
    const without = state.collected.filter((other) => !same(other));
    state.collected =
      without.length < state.collected.length ? without : [...state.collected, cell];
    if (data.kept) state.reported = JSON.stringify(state.collected);
    setStateValue("collected", state.collected);
    paint();
  };
  canvas.onmousemove = (event) => tell(cellAt(canvas, data, event));
  canvas.onmouseleave = () => tell(data.selected);
  canvas.onclick = (event) => choose(cellAt(canvas, data, event), event.shiftKey);
  canvas.onkeydown = (event) => {
    const up = data.upward ? 1 : -1;
    const moves = {
      ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [up, 0], ArrowDown: [-up, 0],
    };
    const move = moves[event.key];
    const at = state.focus || data.selected || [0, 0];
    if (move) {
      const row = Math.min(Math.max(at[0] + move[0], 0), data.rows.length - 1);
      const col = Math.min(Math.max(at[1] + move[1], 0), data.cols.length - 1);
      state.focus = [row, col];
      tell(state.focus);
      paint();
    } else if (event.key === "Enter" || event.key === " ") choose(at, event.shiftKey);
    else return;
    event.preventDefault();
  };
  paint();
  tell(state.focus || data.selected);
  const watcher = new ResizeObserver(paint);
  watcher.observe(parentElement instanceof Element ? parentElement : canvas.parentElement);
  return () => watcher.disconnect();
}
