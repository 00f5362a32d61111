// A table of value vectors whose rows are edited or not; reports the neurons that are chosen.
function cell(kind, text) {
  const made = document.createElement(kind);
  made.textContent = text;
  return made;
}

function order(rows, sort) {
  if (!sort) return rows;
  const number = (row) => parseFloat(row[sort.column]);
  const by = (a, b) =>
    Number.isNaN(number(a)) || Number.isNaN(number(b))
      ? a[sort.column].localeCompare(b[sort.column])
      : number(b) - number(a);
  return [...rows].sort((a, b) => (sort.down ? by(a, b) : by(b, a)));
}

function build(table, data, kept, changed) {
  const head = document.createElement("tr");
  head.append(cell("th", "edit"));
  data.columns.forEach((name, column) => {
    const title = document.createElement("th");
    const button = cell("button", name);
    button.type = "button";
    button.title = data.help[column];
    const own = kept.sort && kept.sort.column === column;
    if (own) title.setAttribute("aria-sort", kept.sort.down ? "descending" : "ascending");
    button.onclick = () => {
      kept.sort = { column, down: own ? !kept.sort.down : true };
      build(table, data, kept, changed);
      table.querySelectorAll("th button")[column].focus();
    };
    title.append(button);
    head.append(title);
  });
  const body = order(data.rows, kept.sort).map((row) => {
    const line = document.createElement("tr");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.dataset.neuron = row[0];
    box.setAttribute("aria-label", `edit neuron ${row[0]}`);
    box.onchange = changed;
    const first = document.createElement("td");
    first.append(box);
    line.append(first, ...row.map((text) => cell("td", text)));
    line.onclick = (event) => {
      if (event.target !== box) box.click();
    };
    return line;
  });
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(...body);
  mark(table, kept.chosen);
}

function mark(table, chosen) {
  for (const box of table.querySelectorAll("input")) {
    box.checked = chosen.includes(box.dataset.neuron);
    box.closest("tr").classList.toggle("chosen", box.checked);
  }
}

export default function (component) {
  const { parentElement, data, setStateValue } = component;
  const table = parentElement.querySelector("table");
  const kept = table.kept || (table.kept = { sort: null, chosen: [], waiting: null, shape: "" });
  const same = (a, b) => a.join() === b.join();
  // An answer to an earlier click must not undo a later one.
  const late = kept.waiting && !same(kept.waiting.sent, data.selected);
  if (!late || Date.now() > kept.waiting.until) {
    kept.waiting = null;
    kept.chosen = [...data.selected];
  }
  const changed = (event) => {
    const { neuron } = event.target.dataset;
    const others = kept.chosen.filter((name) => name !== neuron);
    if (event.target.checked && others.length >= data.most) {
      event.target.checked = false;
      return;
    }
    kept.chosen = event.target.checked ? [...others, neuron] : others;
    kept.waiting = { sent: kept.chosen, until: Date.now() + 5000 };
    mark(table, kept.chosen);
    setStateValue("edits", kept.chosen);
  };
  const shape = JSON.stringify([data.columns, data.rows]);
  if (kept.shape !== shape) {
    kept.shape = shape;
    build(table, data, kept, changed);
  } else {
    for (const box of table.querySelectorAll("input")) box.onchange = changed;
    mark(table, kept.chosen);
  }
}
