// Which edges a threshold leaves, how they run, and what enters and leaves a node.
const MOST_DRAWN = 4000, HALF_WIDE = 0.4, HALF_HIGH = 0.22;

// Edges come strongest first, so those at a threshold are the first ones.
function reaching(graph, threshold) {
  let low = 0, high = graph.scores.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (Math.abs(graph.scores[middle]) >= threshold) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Only edges on a path from the input to the logits, as mechbench.graphs.selection.pruned has it.
function onPaths(graph, count) {
  const n = graph.nodes.length;
  const leaving = Array.from({ length: n }, () => []);
  const entering = Array.from({ length: n }, () => []);
  for (let e = 0; e < count; e++) {
    leaving[graph.writers[e]].push(e);
    for (const node of graph.inputs[graph.readers[e]][1]) entering[node].push(e);
  }
  const walk = (start, edgesAt, ends) => {
    const seen = new Uint8Array(n), queue = [];
    const visit = (node) => {
      if (node >= 0 && !seen[node]) {
        seen[node] = 1;
        queue.push(node);
      }
    };
    visit(start);
    while (queue.length) for (const e of edgesAt[queue.pop()]) ends(e).forEach(visit);
    return seen;
  };
  const named = (id) => graph.nodes.findIndex((node) => node.id === id);
  const fed = (e) => graph.inputs[graph.readers[e]][1];
  const forward = walk(named("input"), leaving, fed);
  const backward = walk(named("logits"), entering, (e) => [graph.writers[e]]);
  const kept = [];
  for (let e = 0; e < count; e++)
    if (forward[graph.writers[e]] && fed(e).some((node) => backward[node])) kept.push(e);
  return kept;
}

function visibleEdges(graph, threshold, prune) {
  const count = reaching(graph, threshold);
  return prune ? onPaths(graph, count) : Array.from({ length: count }, (_, e) => e);
}

// Nodes as they are shown: themselves, or one for all members of a group.
function shownNodes(graph, data) {
  const kinds = graph.groups.length;
  const groupOf = new Map();
  data.groups.forEach((group, g) => group.nodes.forEach((id) => groupOf.set(id, g)));
  const nodes = graph.nodes.map((node, i) => {
    const g = groupOf.get(node.id);
    const own = data.labels[node.id];
    return {
      id: node.id, members: [i], x: node.x, y: node.y, label: own || node.id, named: Boolean(own),
      style: g === undefined ? node.group : kinds + g, kind: graph.groups[node.group].label,
      inGroup: g === undefined ? "" : data.groups[g].label,
    };
  });
  const place = nodes.map((_, i) => i);
  if (data.merged)
    data.groups.forEach((group, g) => {
      const members = nodes.flatMap((n, i) => (group.nodes.includes(n.id) ? [i] : []));
      if (!members.length) return;
      const mean = (key) => members.reduce((sum, i) => sum + nodes[i][key], 0) / members.length;
      const off = (i) => Math.hypot(nodes[i].x - mean("x"), nodes[i].y - mean("y"));
      const middle = nodes[members.reduce((best, i) => (off(i) < off(best) ? i : best))];
      members.forEach((i) => (place[i] = nodes.length));
      nodes.push({
        id: "", members, x: middle.x, y: middle.y, label: group.label, named: true,
        style: kinds + g, kind: `group of ${members.length}`, inGroup: group.label,
      });
    });
  return { nodes, place, shown: nodes.map((_, i) => i >= place.length || place[i] === i) };
}

// The nodes that an edge is drawn to: of several that share a reader, those that write something.
function targets(graph, e, writing) {
  const fed = graph.inputs[graph.readers[e]][1];
  if (fed.length < 2) return fed;
  const some = fed.filter((node) => writing[node]);
  return some.length ? some : fed;
}

// Lines to draw: edge, both ends, and the points of cubic curves in units of the layout.
function linesOf(graph, view, edges) {
  const writing = new Uint8Array(graph.nodes.length);
  for (const e of edges) writing[graph.writers[e]] = 1;
  const lines = [];
  for (const e of edges)
    for (const target of targets(graph, e, writing)) {
      const from = view.place[graph.writers[e]], to = view.place[target];
      if (from === to) continue;
      const moved = from !== graph.writers[e] || to !== target;
      const routed = moved ? undefined : graph.routes[`${e}:${target}`];
      lines.push({ e, from, to, points: routed || direct(view.nodes[from], view.nodes[to]) });
    }
  return lines;
}

function direct(a, b) {
  const up = b.y >= a.y ? 1 : -1;
  const start = a.y + up * HALF_HIGH, stop = b.y - up * HALF_HIGH;
  const reach = (stop - start) * 0.4;
  return [a.x, start, a.x, start + reach, b.x, stop - reach, b.x, stop];
}

function edgeWords(graph, view, e) {
  const [name, , port] = graph.inputs[graph.readers[e]];
  const from = graph.nodes[graph.writers[e]].id;
  const called = (id) => {
    const label = view.nodes.find((node) => node.id === id)?.label;
    return label && label !== id ? `${id} (${label})` : id;
  };
  const target = port ? name.slice(0, name.indexOf("<")) : name;
  return `${called(from)} → ${called(target)}${port ? ` <${port}>` : ""}: ${scoreText(graph, e)}`;
}

function scoreText(graph, e) {
  return graph.scored ? graph.scores[e].toPrecision(4).replace("-", "−") : "no score";
}

// Edges into and out of a shown node, strongest first.
function aroundNode(graph, view, edges, at) {
  const members = new Set(view.nodes[at].members);
  const into = [], out = [];
  for (const e of edges) {
    const leaves = members.has(graph.writers[e]);
    const enters = graph.inputs[graph.readers[e]][1].some((node) => members.has(node));
    if (enters && !leaves) into.push(e);
    if (leaves && !enters) out.push(e);
  }
  return { into, out };
}
