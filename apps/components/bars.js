// Rows of a name, a mean with its interval, and a control; a row can be clicked.
function element(kind, className, text) {
  const made = document.createElement(kind);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(3);

export default function (component) {
  const { parentElement, data, setTriggerValue } = component;
  const ends = data.rows.flatMap((row) => [row.low, row.high, row.control]);
  const low = Math.min(0, ...ends), high = Math.max(0, ...ends);
  const place = (value) => `${(100 * (value - low)) / (high - low || 1)}%`;
  const between = (from, to) => `${(100 * Math.abs(to - from)) / (high - low || 1)}%`;
  const lines = data.rows.map((row) => {
    const line = element(row.opens ? "button" : "div", "line");
    const room = element("span", "room");
    const mark = (kind, from, to) => {
      const part = element("span", kind);
      part.style.left = place(Math.min(from, to));
      part.style.width = between(from, to);
      room.append(part);
    };
    mark(row.mean < 0 ? "bar minus" : "bar", 0, row.mean);
    mark("interval", row.low, row.high);
    mark("control", row.control, row.control);
    mark("zero", 0, 0);
    line.append(
      element("span", "name", row.label),
      room,
      element(
        "span",
        "number",
        `${signed(row.mean)} [${signed(row.low)}, ${signed(row.high)}]`
      )
    );
    line.title = `control ${signed(row.control)}`;
    if (row.opens) {
      line.title += `; opens head ${row.opens} in the attention view`;
      line.onclick = () => setTriggerValue("row", { label: row.opens });
    }
    return line;
  });
  parentElement.querySelector(".lines").replaceChildren(...lines);
}
