// "Send 20 requests": sends them one after another, draws which worker answered each, and checks
// that the shared counter climbed by exactly one every time, for one and the same user.

const REQUESTS = 20;
const TRIES = 3; // a repeated operation id is counted once, so asking again is safe
const TRY_AGAIN_MS = 300;
const ANSWER_MS = 10_000; // longer than nginx takes to give up on a worker
const PACE_MS = 50; // else all twenty would be over before the eye sees the first
const still = matchMedia("(prefers-reduced-motion: reduce)");
const COLOURS = 8;

const panel = document.querySelector("#requests");
const button = document.querySelector("#send");
const tiles = document.querySelector("#tiles");
const rows = document.querySelector("#workers");
const summary = document.querySelector("#summary");
const inconsistencies = document.querySelector("#inconsistencies");
const stopped = document.querySelector("#stopped");
const workers = new Map(); // worker id -> its row, label, colour and count

// The run ended early; the text says why, `loggedOut` offers the way back in.
class Stop extends Error {
  constructor(text, loggedOut = false) {
    super(text);
    this.loggedOut = loggedOut;
  }
}

// No usable answer came: the request may or may not have been carried out.
class NoAnswer extends Error {}

// ---- asking the server

async function ask(path, options = {}) {
  const response = await fetch(path, {
    ...options,
    cache: "no-store",
    signal: AbortSignal.timeout(ANSWER_MS),
  }).catch(() => {
    throw new NoAnswer("No answer: the network or the server is away.");
  });
  if (response.ok) return response.json();
  throw refusal(response);
}

function refusal(response) {
  switch (response.status) {
    case 401:
      return new Stop("You are logged out: this session has ended.", true);
    case 502:
    case 504:
      return new NoAnswer(`nginx got no answer from a worker (${response.status}).`);
    case 503: {
      const seconds = Number(response.headers.get("Retry-After")) || "a few";
      return new Stop(
        `The session store is away (503). You stay logged in: try again in ${seconds} s.`,
      );
    }
    default:
      return new Stop(`The server refused (${response.status}).`);
  }
}

async function sendVisit() {
  const body = JSON.stringify({ op: operationId() });
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body };
  return withTries(() => ask("/api/visits", options));
}

async function withTries(action) {
  for (let tries = 1; ; tries++) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof NoAnswer) || tries === TRIES) throw error;
      await pause(TRY_AGAIN_MS);
    }
  }
}

// crypto.randomUUID exists only on https and localhost; the demo may be opened by address.
function operationId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function pause(milliseconds) {
  return new Promise((done) => setTimeout(done, milliseconds));
}

// ---- one run: what was seen, and what was wrong with it

async function send(seen) {
  let { visits } = await readSession(seen);
  for (let number = 1; number <= REQUESTS; number++) {
    const answer = await sendVisit();
    checkVisits(seen, `Request ${number}`, visits + 1, answer.visits);
    seen.requests = number;
    seen.workers.add(answer.worker);
    draw(number, answer);
    announce({ visits: answer.visits });
    visits = answer.visits;
    if (!still.matches) await pause(PACE_MS);
  }
  const session = await readSession(seen);
  checkVisits(seen, "At the end", visits, session.visits);
}

async function readSession(seen) {
  const session = await withTries(() => ask("/api/session"));
  seen.sessions.add(`${session.created} ${session.user}`);
  if (session.user !== panel.dataset.user) {
    seen.wrong.push(`${session.worker} answered for ${session.user}, not ${panel.dataset.user}.`);
  }
  announce(session);
  return session;
}

// session.js shows it.
function announce(detail) {
  document.dispatchEvent(new CustomEvent("session", { detail }));
}

// A second tab of the same session also moves the counter: it shows up here, as it should.
function checkVisits(seen, when, expected, visits) {
  if (visits === expected) return;
  seen.wrong.push(`${when}: the counter says ${visits}, expected ${expected}.`);
}

async function run() {
  if (tiles.getAttribute("aria-busy") === "true") return;
  const seen = { requests: 0, workers: new Set(), sessions: new Set(), wrong: [] };
  clear();
  try {
    await send(seen);
    report(seen);
  } catch (error) {
    if (!(error instanceof Stop || error instanceof NoAnswer)) throw error;
    report(seen, error);
  } finally {
    setBusy(false);
  }
}

// ---- drawing

function setBusy(busy) {
  tiles.setAttribute("aria-busy", busy);
  button.setAttribute("aria-disabled", busy); // `disabled` would throw the keyboard's focus away
}

function clear() {
  setBusy(true);
  tiles.replaceChildren();
  inconsistencies.hidden = stopped.hidden = true;
  summary.textContent = `Sending ${REQUESTS} requests …`;
  for (const worker of workers.values()) setCount(worker, 0);
}

function draw(number, answer) {
  const worker = workerNamed(answer.worker);
  const tile = document.querySelector("#tile").content.cloneNode(true).firstElementChild;
  tile.dataset.colour = worker.colour;
  tile.title = `Request ${number}: visit ${answer.visits}, worker ${answer.worker}`;
  tile.querySelector(".request").textContent = `request ${number}: `;
  tile.querySelector(".visit").textContent = answer.visits;
  tile.querySelector(".label").textContent = worker.label;
  tiles.append(tile);
  setCount(worker, worker.count + 1);
  for (const { row } of workers.values()) row.toggleAttribute("data-answered", row === worker.row);
}

function setCount(worker, count) {
  worker.count = count;
  worker.row.querySelector(".count").textContent = count;
  worker.row.querySelector(".bar-line").style.setProperty("--share", count / REQUESTS);
}

function report(seen, error) {
  const requests = error ? `${seen.requests} of ${REQUESTS} requests` : plural(REQUESTS, "request");
  const wrong = plural(seen.wrong.length, "inconsistency", "inconsistencies");
  summary.textContent = [
    requests,
    plural(seen.workers.size, "worker"),
    plural(seen.sessions.size, "session"),
    wrong,
  ].join(", ");
  summary.classList.toggle("bad", seen.wrong.length > 0);
  inconsistencies.replaceChildren(...seen.wrong.map(listItem));
  inconsistencies.hidden = seen.wrong.length === 0;
  if (error) showStop(error);
}

function showStop(error) {
  stopped.querySelector("span").textContent = error.message;
  stopped.querySelector("a").hidden = !error.loggedOut;
  stopped.hidden = false;
}

function listItem(text) {
  const item = document.createElement("li");
  item.textContent = text;
  return item;
}

function plural(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}

// ---- workers: a row each, a label and a colour that stay

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
button.addEventListener("click", run);
panel.hidden = false;
