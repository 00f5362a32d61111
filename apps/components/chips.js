// Pairs of prompts as rows of token chips, clean above corrupted. Token text is only ever text.
function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

function row(name, tokens, other) {
  const line = element("tr");
  const head = element("th", "", name);
  head.scope = "row";
  line.append(head);
  const n = Math.max(tokens.length, other.length);
  for (let i = 0; i < n; i++) {
    const cell = element("td");
    if (i < tokens.length) {
      const differs = tokens[i] !== other[i];
      const chip = element("span", differs ? "chip differs" : "chip", tokens[i]);
      chip.title = `position ${i}${differs ? ", differs" : ""}`;
      cell.append(chip);
    }
    line.append(cell);
  }
  return line;
}

function pair(data) {
  const box = element("section", "pair");
  box.append(element("div", "about", data.about));
  const scroll = element("div", "scroll");
  scroll.tabIndex = 0;
  const table = element("table");
  const numbers = element("tr", "numbers");
  numbers.append(element("th", "", "position"));
  const n = Math.max(data.clean.length, data.corrupted.length);
  for (let i = 0; i < n; i++) numbers.append(element("td", "", String(i)));
  table.append(
    numbers,
    row("clean", data.clean, data.corrupted),
    row("corrupted", data.corrupted, data.clean)
  );
  scroll.append(table);
  box.append(scroll, ...data.lines.map((line) => element("div", "line", line)));
  return box;
}

export default function (component) {
  const { parentElement, data } = component;
  parentElement.querySelector(".chips").replaceChildren(...data.pairs.map(pair));
}
