// The circuit as a graph: a threshold that filters here, nodes to hover, walk, pin and open.
const LISTED = 30;

class CircuitGraph {
  constructor(root) {
    this.canvas = root.querySelector("canvas.graph");
    this.curve = root.querySelector("canvas.curve");
    this.slider = root.querySelector("input");
    this.count = root.querySelector(".count");
    this.word = root.querySelector(".word");
    this.side = root.querySelector(".side");
    this.keys = [root.querySelector(".edges-key"), root.querySelector(".curve-key")];
    this.at = null;
  }

  take(component) {
    const { data } = component;
    this.tell = component.setTriggerValue;
    if (this.text !== data.graph) {
      this.text = data.graph;
      this.graph = JSON.parse(data.graph);
      this.given = this.at = this.inks = null;
    }
    this.data = data;
    this.view = shownNodes(this.graph, data);
    if (this.given !== data.threshold) this.cut = this.given = data.threshold;
    if (this.chosen !== data.selected || this.at === null) this.at = this.placeOf(data.selected);
    this.chosen = data.selected;
    this.slider.disabled = this.graph.high <= this.graph.low;
    this.slider.value = notchOf(this.graph, this.cut);
    this.refilter();
  }

  placeOf(id) {
    const i = this.view.nodes.findIndex((node) => node.id && node.id === id);
    return i < 0 ? null : this.view.place[i];
  }

  refilter() {
    const start = performance.now();
    this.edges = visibleEdges(this.graph, this.cut, this.data.prune);
    this.tooMany = this.edges.length > MOST_DRAWN;
    this.lines = this.tooMany ? [] : linesOf(this.graph, this.view, this.edges);
    this.paint();
    this.canvas.dataset.redrawMs = (performance.now() - start).toFixed(2);
    this.canvas.dataset.visible = this.edges.length;
    const { nGraphEdges, what } = this.graph;
    const of = `${this.edges.length.toLocaleString("en")} of ${nGraphEdges.toLocaleString("en")} ${what}`;
    const limit = this.tooMany
      ? ` – too many to draw: ${MOST_DRAWN.toLocaleString("en")} at most. Raise the threshold.`
      : "";
    this.count.textContent = `|score| ≥ ${this.cut.toPrecision(4)}: ${of}${limit}`;
    this.slider.setAttribute("aria-valuetext", this.count.textContent);
    this.list();
  }

  paint() {
    const { graph, view, data, canvas } = this;
    const box = (this.box = frameOf(canvas, graph));
    const dark = isDark(canvas.parentElement);
    const colours = dark ? graph.dark : graph.light;
    const ink = getComputedStyle(canvas.parentElement).color;
    const pen = fitted(canvas, box.width, box.height);
    pen.font = "11px sans-serif";
    pen.textBaseline = "middle";
    paintRows(pen, box, graph, ink);
    if (box.wide < 44) pen.font = "9px sans-serif";
    const touched = this.at === null ? null : new Set([this.at]);
    paintLines(pen, box, graph, this.lines, colours, touched);
    const linked = new Set(this.lines.flatMap((line) => [line.from, line.to]));
    const pinned = new Set(data.pinned), picked = new Set(data.picked);
    view.nodes.forEach((node, i) => {
      if (!view.shown[i]) return;
      const style = graph.styles[node.style % graph.styles.length];
      const ids = node.members.map((m) => graph.nodes[m].id);
      const holds = (some) => ids.some((id) => some.has(id));
      paintNode(pen, box, node, {
        outline: style.outline, colour: style.colour, ground: dark ? style.dark : style.light,
        ink: dark ? "#FFFFFF" : "#111111", pinned: holds(pinned),
        faint: !linked.has(i) && !holds(pinned) && !this.tooMany && i !== this.at,
        ring: i === this.at ? ink : holds(picked) ? "#E69F00" : null,
      });
    });
    const share = reaching(graph, this.cut) / graph.nGraphEdges;
    const exact = data.exact && {
      ...data.exact, share: reaching(graph, data.exact.threshold) / graph.nGraphEdges,
    };
    paintCurve(this.curve, graph.curve, share, exact, ink, colours);
    this.explain(colours, ink);
  }

  explain(colours, ink) {
    const { graph } = this;
    if (this.inks === colours) return;
    this.inks = colours;
    legend(this.keys[0], [
      ["helps the metric", colours.positive, "solid"],
      ["opposes it", colours.negative, "solid"],
      ["into q", colours.grey, "dashed"],
      ["into k", colours.grey, "dotted"],
      ["into v, MLP, logits", colours.grey, "solid"],
    ]);
    if (!graph.curve) return this.keys[1].replaceChildren();
    const [own, random, rest] = graph.curve.words;
    legend(this.keys[1], [
      [`circuits ${own}, with 95 % interval`, colours.curve, "solid"],
      [rest, colours.rest, "dashed"],
      [random, colours.grey, "dotted"],
      ["threshold; the dot is measured exactly", ink, "solid"],
    ]);
  }

  // The node under a point of the page, or the edge nearest to it.
  under(event) {
    const bounds = this.canvas.getBoundingClientRect();
    const x = event.clientX - bounds.left, y = event.clientY - bounds.top, { box, view } = this;
    const node = view.nodes.findIndex(
      (n, i) =>
        view.shown[i] && Math.abs(box.x(n.x) - x) <= HALF_WIDE * box.wide &&
        Math.abs(box.y(n.y) - y) <= HALF_HIGH * box.high + 2
    );
    if (node >= 0) return { node };
    let best = 5, edge = null;
    for (const { e, points } of this.lines) {
      for (let p = 0; p + 7 < points.length; p += 6) {
        if (distant(box, points, p, x, y, best)) continue;
        for (let t = 0; t <= 1; t += 0.05) {
          const off = Math.hypot(...bezier(box, points, p, t).map((v, i) => v - [x, y][i]));
          if (off < best) [best, edge] = [off, e];
        }
      }
    }
    return edge === null ? {} : { edge };
  }

  say(found) {
    const { view, graph } = this;
    if (found.edge !== undefined) this.word.textContent = edgeWords(graph, view, found.edge);
    else if (found.node !== undefined && found.node !== null) {
      const node = view.nodes[found.node];
      const { into, out } = aroundNode(graph, view, this.edges, found.node);
      const ids = node.id ? node.id : node.members.map((m) => graph.nodes[m].id).join(", ");
      const own = node.id && node.label !== node.id ? `, “${node.label}”` : "";
      const group = node.inGroup ? `, in ${node.inGroup}` : "";
      this.word.textContent =
        `${ids}${own} (${node.kind}${group}): ${into.length} edges in, ${out.length} out`;
    } else this.word.textContent = "";
  }

  open(at) {
    this.at = at;
    this.paint();
    this.list();
    this.say({ node: at });
  }

  // What enters and leaves the open node; each line leads to the other end.
  list() {
    this.side.replaceChildren();
    const { graph, view, data } = this;
    if (this.at === null) {
      element("p", "Click a node, or walk to it with the arrow keys, to list its edges.", this.side);
    } else {
      const node = view.nodes[this.at];
      const own = node.id && node.label !== node.id ? ` ${node.id}` : "";
      element("h4", `${node.label}${own}`, this.side);
      const { into, out } = aroundNode(graph, view, this.edges, this.at);
      this.edgeList("In", into, (e) => graph.writers[e], (e) => graph.inputs[graph.readers[e]][2]);
      this.edgeList("Out", out, (e) => graph.inputs[graph.readers[e]][1][0], (e) => graph.inputs[graph.readers[e]][2]);
    }
    if (data.pinned.length) element("h5", "Pinned", this.side);
    for (const id of data.pinned) {
      const at = this.placeOf(id);
      if (at === null) continue;
      const chip = element("button", data.labels[id] ? `${id} ${data.labels[id]}` : id, this.side);
      chip.onclick = () => this.open(at);
    }
  }

  edgeList(title, edges, otherEnd, port) {
    const { graph, view } = this;
    element("h5", `${title} (${edges.length})`, this.side);
    const table = element("div", "", this.side, "edges");
    for (const e of edges.slice(0, LISTED)) {
      const other = otherEnd(e);
      const name = graph.nodes[other].id, label = this.data.labels[name];
      const row = element("button", "", table);
      element("span", `${label ? `${name} ${label}` : name}${port(e) ? ` <${port(e)}>` : ""}`, row);
      element("span", scoreText(graph, e), row, graph.scores[e] < 0 ? "opposes" : "helps");
      row.title = edgeWords(graph, view, e);
      row.onclick = () => this.open(view.place[other]);
    }
    if (edges.length > LISTED) element("p", `and ${edges.length - LISTED} weaker ones`, this.side);
  }

  // The nearest node in the direction of an arrow key.
  step(dx, dy) {
    const { view } = this;
    const all = view.nodes.map((n, i) => ({ ...n, i })).filter((n) => view.shown[n.i]);
    const from = this.at === null ? null : view.nodes[this.at];
    if (!from) return this.open(all[0].i);
    const ahead = all.filter((n) =>
      dx ? Math.abs(n.y - from.y) < 0.5 && (n.x - from.x) * dx > 1e-6 : (n.y - from.y) * dy >= 0.5
    );
    const cost = (n) => (dx ? Math.abs(n.x - from.x) : 100 * Math.abs(n.y - from.y) + Math.abs(n.x - from.x));
    ahead.sort((a, b) => cost(a) - cost(b));
    if (ahead.length) this.open(ahead[0].i);
  }

  report(name, at) {
    const id = at === null ? "" : this.view.nodes[at].id;
    if (id) this.tell(name, id);
  }

  listen() {
    const { canvas, slider } = this;
    canvas.onmousemove = (event) => this.say(this.under(event));
    canvas.onmouseleave = () => this.say({ node: this.at });
    canvas.onclick = (event) => {
      const { node } = this.under(event);
      if (node === undefined) return this.open(null);
      if (event.shiftKey) return this.report("pick", node);
      this.open(node);
      this.report("node", node);
    };
    canvas.ondblclick = (event) => this.report("pin", this.under(event).node ?? null);
    canvas.onkeydown = (event) => {
      const moves = {
        ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1],
      };
      const move = moves[event.key];
      if (move) this.step(...move);
      else if (event.key === "Enter") this.report(event.shiftKey ? "pick" : "pin", this.at);
      else if (event.key === " ") this.report("node", this.at);
      else return;
      event.preventDefault();
    };
    slider.oninput = () => {
      this.cut = thresholdAt(this.graph, Number(slider.value));
      this.refilter();
    };
    slider.onchange = () => this.tell("cut", this.cut);
  }
}

export default function (component) {
  const root = component.parentElement;
  const box = root.querySelector(".box");
  const shown = box.kept || (box.kept = new CircuitGraph(root));
  shown.take(component);
  shown.listen();
  const watcher = new ResizeObserver(() => shown.paint());
  watcher.observe(box);
  return () => watcher.disconnect();
}
