// Draws what requests.js tells in "request" events: a tile for each answer in the colour of its
// worker, and a row with a bar for each worker.  A worker keeps its label and colour.

const COLOURS = 8;
const FULL_BAR = 20; // answers

const tiles = document.querySelector("#tiles");
const rows = document.querySelector("#workers");
const workers = new Map(); // worker id -> its row, label, colour and count

function clear() {
  tiles.replaceChildren();
  for (const worker of workers.values()) setCount(worker, 0);
}

function draw({ number, visits, worker: id, waited }) {
  const worker = workerNamed(id);
  const tile = document.querySelector("#tile").content.cloneNode(true).firstElementChild;
  tile.dataset.colour = worker.colour;
  tile.title = `Request ${number}: visit ${visits}, worker ${id}`;
  tile.querySelector(".request").textContent = `request ${number}: `;
  tile.querySelector(".visit").textContent = visits;
  tile.querySelector(".label").textContent = worker.label;
  if (waited) tile.querySelector(".waited").textContent = `waited ${waited.toFixed(1)} s`;
  tiles.append(tile);
  setCount(worker, worker.count + 1);
  for (const { row } of workers.values()) row.toggleAttribute("data-answered", row === worker.row);
}

function setCount(worker, count) {
  worker.count = count;
  worker.row.querySelector(".count").textContent = count;
  const share = Math.min(1, count / FULL_BAR);
  worker.row.querySelector(".bar-line").style.setProperty("--share", share);
}

function workerNamed(id) {
  if (!workers.has(id)) addWorker(id, newRow(id));
  return workers.get(id);
}

function addWorker(id, row) {
  const port = id.slice(id.lastIndexOf(":") + 1);
  const known = [...workers.values()];
  const worker = { row, count: 0, label: freeLabel(port, known), colour: freeColour(port, known) };
  row.dataset.colour = worker.colour;
  if (worker.label !== port) row.querySelector(".id").append(` (${worker.label})`);
  workers.set(id, worker);
}

// The port names a worker in a tile; hosts that use the same port get a second figure.
function freeLabel(port, known) {
  const namesakes = known.filter(({ label }) => label.split("·")[0] === port).length;
  return namesakes ? `${port}·${namesakes + 1}` : port;
}

// Taken from the port, so that a worker has one colour in every tab; the next free one on a clash.
function freeColour(port, known) {
  const wanted = (Number(port) + COLOURS - 1) % COLOURS || 0;
  const taken = new Set(known.map(({ colour }) => colour));
  const choices = Array.from({ length: COLOURS }, (_, step) => (wanted + step) % COLOURS);
  return choices.find((colour) => !taken.has(colour)) ?? wanted;
}

function newRow(id) {
  const row = document.querySelector("#worker").content.cloneNode(true).firstElementChild;
  row.dataset.worker = id;
  row.querySelector(".id").textContent = id;
  const later = [...rows.children].find((other) => other.dataset.worker > id);
  rows.insertBefore(row, later ?? null);
  return row;
}

for (const row of rows.children) addWorker(row.dataset.worker, row);
document.addEventListener("request", ({ detail }) => (detail === "clear" ? clear() : draw(detail)));
