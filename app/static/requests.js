// The three buttons: sends requests one after another, at once, or beside a slow one, and checks that
// the shared counter went up by exactly one for each, for one and the same user.  tiles.js draws them.

const REQUESTS = 20;
const TRIES = 3; // a repeated operation id is counted once, so asking again is safe
const TRY_AGAIN_MS = 300;
const ANSWER_MS = 10_000; // longer than all but a worker that hangs; asking again is safe
const PACE_MS = 50; // else all twenty would be over before the eye sees the first
const SLOW_MS = 3000;
const SLOW_PACE_MS = 240; // beside a slow request
const SLOW_WAITING = 3; // a browser has six connections to a site; more waiting ones would block the rest
const WAITED_MS = 500; // an answer that took longer had to wait, for the busy worker or for nginx to give it up
const still = matchMedia("(prefers-reduced-motion: reduce)");

const panel = document.querySelector("#requests");
const buttons = panel.querySelectorAll("button[data-run]");
const tiles = document.querySelector("#tiles");
const summary = document.querySelector("#summary");
const inconsistencies = document.querySelector("#inconsistencies");
const stopped = document.querySelector("#stopped");

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

// ---- the runs: what was seen, and what was wrong with it

const runs = {
  async oneByOne(seen) {
    let { visits } = await readSession(seen);
    for (let number = 1; number <= REQUESTS; number++) {
      const answer = await visit(seen, number);
      checkVisits(seen, `Request ${number}`, visits + 1, answer.visits);
      visits = answer.visits;
      if (!still.matches) await pause(PACE_MS);
    }
    const session = await readSession(seen);
    checkVisits(seen, "At the end", visits, session.visits);
    return tally(seen, REQUESTS);
  },

  async atOnce(seen) {
    const before = await readSession(seen);
    const numbers = Array.from({ length: REQUESTS }, (_, index) => index + 1);
    await all(numbers.map((number) => visit(seen, number)));
    await checkAll(seen, before.visits);
    return tally(seen, REQUESTS);
  },

  async slow(seen) {
    const before = await readSession(seen);
    const started = performance.now();
    let busy = null; // until it is known which worker was held up, and how long
    const slow = ask(`/slow?kind=block&ms=${SLOW_MS}`).then(({ worker }) => {
      busy = { worker, seconds: (performance.now() - started) / 1000 };
    });
    slow.catch(() => (busy = {}));
    const sent = [];
    const waiting = new Set();
    for (let number = 1; number <= REQUESTS && !busy; number++) {
      const request = visit(seen, number, () => busy === null).finally(() => waiting.delete(request));
      request.catch(() => {}); // `all` reports it
      waiting.add(request);
      sent.push(request);
      await pause(SLOW_PACE_MS);
      while (waiting.size >= SLOW_WAITING && !busy) await pause(SLOW_PACE_MS);
    }
    await all([slow, ...sent]);
    await checkAll(seen, before.visits);
    return slowTally(seen, busy);
  },
};

// Send one visit, draw it, and remember it; `duringSlow` is asked when the answer is there.
async function visit(seen, number, duringSlow = () => false) {
  const started = performance.now();
  const answer = await sendVisit();
  const ms = performance.now() - started;
  const waited = seen.slow && ms > WAITED_MS ? ms / 1000 : 0;
  seen.answers.push({ ...answer, waited, meanwhile: duringSlow() });
  document.dispatchEvent(new CustomEvent("request", { detail: { ...answer, number, waited } }));
  announce({ visits: answer.visits });
  return answer;
}

// Wait for all of them, then fail with the first that failed: no request may be under way after the verdict.
async function all(promises) {
  const outcomes = await Promise.allSettled(promises);
  const failed = outcomes.find(({ status }) => status === "rejected");
  if (failed) throw failed.reason;
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

// Parallel requests may be counted in any order, but each number must come exactly once.
async function checkAll(seen, before) {
  const times = new Map();
  for (const { visits } of seen.answers) times.set(visits, (times.get(visits) ?? 0) + 1);
  for (const [visits, count] of times) {
    if (count > 1) seen.wrong.push(`${count} requests were told that they are visit ${visits}.`);
  }
  for (let visits = before + 1; visits <= before + seen.answers.length; visits++) {
    if (!times.has(visits)) seen.wrong.push(`No request was told that it is visit ${visits}.`);
  }
  const session = await readSession(seen);
  checkVisits(seen, "At the end", before + seen.answers.length, session.visits);
}

async function run(name) {
  if (tiles.getAttribute("aria-busy") === "true") return;
  const seen = { answers: [], sessions: new Set(), wrong: [], slow: name === "slow" };
  clear();
  try {
    report(seen, await runs[name](seen));
  } catch (error) {
    if (!(error instanceof Stop || error instanceof NoAnswer)) throw error;
    report(seen, tally(seen, REQUESTS), error);
  } finally {
    setBusy(false);
  }
}

// ---- what the page shows

function setBusy(busy) {
  tiles.setAttribute("aria-busy", busy);
  // `disabled` would throw the keyboard's focus away
  for (const button of buttons) button.setAttribute("aria-disabled", busy);
}

function clear() {
  setBusy(true);
  document.dispatchEvent(new CustomEvent("request", { detail: "clear" }));
  inconsistencies.hidden = stopped.hidden = true;
  summary.textContent = "Sending …";
}

function tally(seen, wanted) {
  const sent = seen.answers.length;
  const workers = new Set(seen.answers.map(({ worker }) => worker));
  const requests = sent === wanted ? plural(sent, "request") : `${sent} of ${wanted} requests`;
  return [requests, plural(workers.size, "worker"), ...sessions(seen)].join(", ");
}

function slowTally(seen, { worker, seconds }) {
  const meanwhile = seen.answers.filter(
    (answer) => answer.meanwhile && !answer.waited && answer.worker !== worker,
  );
  const others = new Set(meanwhile.map((answer) => answer.worker));
  const waited = seen.answers.filter((answer) => answer.waited);
  const busy = `${worker} was busy for ${seconds.toFixed(1)} s`;
  const went = `${plural(meanwhile.length, "request")} went on to ${plural(others.size, "other worker")}`;
  const stood = `${waited.length} had to wait`;
  return `${busy}: ${went}, ${stood}; ${sessions(seen).join(", ")}`;
}

function sessions(seen) {
  const wrong = plural(seen.wrong.length, "inconsistency", "inconsistencies");
  return [plural(seen.sessions.size, "session"), wrong];
}

function report(seen, text, error) {
  summary.textContent = text;
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

for (const button of buttons) button.addEventListener("click", () => run(button.dataset.run));
panel.hidden = false;
