// Tokens as text: the one under the mouse colours those that it looks at. Below, a map of each head.
const shown = (token) => token.replaceAll(" ", "·");
const inkOn = (hex) => {
  const part = (from) => parseInt(hex.slice(from, from + 2), 16);
  return 0.299 * part(1) + 0.587 * part(3) + 0.114 * part(5) > 140 ? "#000000" : "#FFFFFF";
};
const colourOf = (palette, weight) => palette[Math.round(weight * (palette.length - 1))];

function element(kind, className, text) {
  const made = document.createElement(kind);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function small(canvas, pattern, palette) {
  const size = pattern.length;
  canvas.width = canvas.height = size;
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(size, size);
  pattern.forEach((row, q) =>
    row.forEach((weight, k) => {
      const hex = colourOf(palette, weight);
      for (let i = 0; i < 3; i++)
        image.data[4 * (q * size + k) + i] = parseInt(hex.slice(1 + 2 * i, 3 + 2 * i), 16);
      image.data[4 * (q * size + k) + 3] = 255;
    })
  );
  pen.putImageData(image, 0, 0);
}

function build(box, data, state) {
  const tokens = box.querySelector(".tokens"), heads = box.querySelector(".heads");
  state.tokens = data.tokens.map((token, at) => {
    const chip = element("button", "token");
    chip.append(element("span", "text", shown(token)), element("span", "weight"));
    chip.onmouseenter = chip.onfocus = () => state.act.hover(at);
    chip.onmouseleave = chip.onblur = () => state.act.hover(null);
    chip.onclick = () => state.act.pin(at);
    return chip;
  });
  tokens.replaceChildren(...state.tokens);
  state.heads = data.heads.map((label, index) => {
    const button = element("button", "head");
    const canvas = element("canvas", "map");
    small(canvas, data.patterns[index], data.palette);
    button.append(canvas, element("span", "name", label));
    button.onmouseenter = button.onfocus = () => state.act.preview(index);
    button.onmouseleave = button.onblur = () => state.act.preview(null);
    button.onclick = () => state.act.choose(index);
    return button;
  });
  heads.replaceChildren(...state.heads);
}

function strongest(data, row, most) {
  return row
    .map((weight, key) => [weight, key])
    .filter(([weight]) => weight >= 0.005)
    .sort((a, b) => b[0] - a[0])
    .slice(0, most)
    .map(([weight, key]) => `“${shown(data.tokens[key])}” (${key}) ${weight.toFixed(2)}`)
    .join(", ");
}

function paint(box, data, state) {
  const head = state.preview ?? state.head;
  const query = state.hover ?? state.pin ?? data.tokens.length - 1;
  const row = data.patterns[head][query];
  const seen = row.reduce((last, weight, key) => (weight > 0 ? key : last), 0);
  state.tokens.forEach((chip, key) => {
    const colour = colourOf(data.palette, row[key]);
    chip.style.background = colour;
    chip.style.color = inkOn(colour);
    chip.classList.toggle("query", key === query);
    chip.classList.toggle("pinned", key === state.pin);
    chip.classList.toggle("unseen", key > Math.max(seen, query));
    chip.lastChild.textContent = row[key] >= 0.005 ? row[key].toFixed(2) : "";
    chip.setAttribute("aria-pressed", String(key === state.pin));
    chip.setAttribute("aria-label", `${data.tokens[key]}, position ${key}`);
  });
  state.heads.forEach((button, index) => {
    button.classList.toggle("chosen", index === state.head);
    button.setAttribute("aria-pressed", String(index === state.head));
    button.setAttribute("aria-label", `Head ${data.heads[index]}`);
  });
  const how = state.hover === null && query === state.pin ? "pinned, " : "";
  box.querySelector(".word").textContent =
    `Head ${data.heads[head]}, from “${shown(data.tokens[query])}” (${how}position ${query}), ` +
    `looks at ${strongest(data, row, 5)}.`;
}

export default function (component) {
  const { parentElement, data, setTriggerValue } = component;
  const box = parentElement.querySelector(".box");
  const state = box.kept || (box.kept = { hover: null, preview: null });
  state.pin = data.pinned;
  state.head = data.chosen;
  const repaint = () => paint(box, data, state);
  state.act = {
    hover: (at) => ((state.hover = at), repaint()),
    preview: (index) => ((state.preview = index), repaint()),
    pin: (at) => {
      state.pin = state.pin === at ? null : at;
      setTriggerValue("pin", { at: state.pin });
      repaint();
    },
    choose: (index) => {
      state.head = index;
      setTriggerValue("head", { label: data.heads[index] });
      repaint();
    },
  };
  if (state.id !== data.id) {
    Object.assign(state, { id: data.id, hover: null, preview: null });
    build(box, data, state);
  }
  repaint();
}
