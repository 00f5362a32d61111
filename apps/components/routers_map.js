// Draws prompts with a cell for each token and block, and reports clicked cells to the page.
function element(parent, name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  parent.appendChild(made);
  return made;
}

function words(data, [side, row, position]) {
  const shown = data.sides[side];
  const way = shown.through[row][position] ? "goes through" : "goes past";
  const weight = shown.weights[row][position].toFixed(3);
  return (
    `${shown.title}, position ${position}, ${shown.tokens[position]}, block ${data.blocks[row]}: ` +
    `${way}, router weight ${weight}`
  );
}

function table(parent, data, side, cells) {
  const shown = data.sides[side];
  const other = data.sides[1 - side];
  const made = element(parent, "table");
  made.setAttribute("role", "grid");
  element(made, "caption", shown.title);
  const head = element(element(made, "thead"), "tr");
  for (const title of ["", "token"]) element(head, "th", title);
  data.blocks.forEach((block, row) => {
    const title = element(head, "th", `block ${block}`);
    element(title, "div", `${shown.perBlock[row]} of ${shown.tokens.length}`, "total");
  });
  element(head, "th", "blocks");
  const body = element(made, "tbody");
  shown.tokens.forEach((token, position) => {
    const line = element(body, "tr");
    element(line, "td", position);
    const differs = other && other.tokens[position] !== token;
    element(line, "td", token, differs ? "token differs" : "token").title = token;
    data.blocks.forEach((block, row) => {
      const through = shown.through[row][position];
      const cell = element(line, "td", through ? "●" : "○", "cell");
      cell.setAttribute("role", "gridcell");
      cell.setAttribute("aria-label", words(data, [side, row, position]));
      cell.tabIndex = -1;
      cell.classList.toggle("through", through);
      cell.classList.toggle("otherwise", !!other && other.through[row][position] !== through);
      cells.set([side, row, position].join(), cell);
    });
    element(line, "td", shown.perToken[position]);
  });
}

export default function (component) {
  const { parentElement, data, setStateValue } = component;
  const sides = parentElement.querySelector(".sides");
  const word = parentElement.querySelector(".word");
  const scroll = parentElement.querySelector(".scroll");
  const top = scroll.scrollTop;
  const held = parentElement.querySelector("td.cell:focus")?.place;
  const cells = new Map();
  sides.replaceChildren();
  data.sides.forEach((_, side) => table(sides, data, side, cells));
  scroll.scrollTop = top;
  const told = data.selected || [0, 0, 0];
  const tell = (place) => {
    word.textContent = place ? words(data, place) : "";
  };
  const move = (place, event) => {
    const last = [data.sides.length - 1, data.blocks.length - 1, data.sides[0].tokens.length - 1];
    const [side, row, position] = place;
    const along = side * data.blocks.length + row;
    const to = {
      ArrowUp: [side, row, Math.max(position - 1, 0)],
      ArrowDown: [side, row, Math.min(position + 1, last[2])],
      ArrowLeft: split(Math.max(along - 1, 0), data.blocks.length, position),
      ArrowRight: split(
        Math.min(along + 1, (last[0] + 1) * data.blocks.length - 1), data.blocks.length, position
      ),
    }[event.key];
    if (to) cells.get(to.join()).focus();
    else if (event.key === "Enter" || event.key === " ") setStateValue("cell", place);
    else return;
    event.preventDefault();
  };
  for (const [name, cell] of cells) {
    const place = name.split(",").map(Number);
    cell.place = place;
    cell.onmouseenter = cell.onfocus = () => tell(place);
    cell.onmouseleave = () => tell(data.selected);
    cell.onclick = () => setStateValue("cell", place);
    cell.onkeydown = (event) => move(place, event);
  }
  cells.get(told.join())?.classList.toggle("selected", !!data.selected);
  const entry = cells.get((held || told).join()) || cells.values().next().value;
  if (entry) entry.tabIndex = 0;
  if (held && entry) entry.focus({ preventScroll: true });
  tell(data.selected);
}

function split(along, nBlocks, position) {
  return [Math.floor(along / nBlocks), along % nBlocks, position];
}
