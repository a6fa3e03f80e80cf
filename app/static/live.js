// Holds the page's event stream: shows changes by other tabs and alerts by other people, whichever worker
// handled them, and goes to the login page when the session ends.  Only the main page has the panel.

const AWAY = "Live updates are not available at the moment. Everything else on this page works.";
const MOST_STREAMS = 4; // of one browser: over HTTP/1.1 it has six connections to a site, for everything
const MOST_LINES = 8;
const LONGEST_WAIT_MS = 30_000;
const OWN_MS = 400; // an answer to this page's own request arrives before or soon after the event

const panel = document.querySelector("#live");
const state = document.querySelector("#live-state");
const lines = document.querySelector("#live-lines");
const form = document.querySelector("#alert");
const tabs = new BroadcastChannel("events"); // for tabs without a stream of their own

let source = null;
let place = 0; // which of this browser's streams this page holds; 0: none
let failures = 0;
let again = 0; // the timer that will open it again
let version = 0;
const own = new Set(); // visits that this page has made itself

// ---- the stream

function open() {
  clearTimeout(again);
  source = new EventSource("/events");
  for (const name of Object.keys(on)) source.addEventListener(name, receive);
  source.addEventListener("error", lost);
}

function close() {
  clearTimeout(again);
  source?.close();
  source = null;
}

function receive({ type, data }) {
  const facts = JSON.parse(data);
  // One page passes events on to the others; every page passes on an end, in case that one is asleep.
  if (place === 1 || type === "ended") tabs.postMessage({ type, facts });
  on[type](facts);
}

const on = {
  hello({ worker, subscribed }) {
    failures = 0;
    showState(worker ? "Worker " : "A worker", worker, " holds this page's event stream.");
    if (!subscribed) state.append(" Changes on other workers arrive late at the moment.");
  },

  session(facts) {
    document.dispatchEvent(new CustomEvent("session", { detail: { ...facts, fromStream: true } }));
    const news = version > 0 && facts.version > version;
    version = Math.max(version, facts.version);
    if (news) setTimeout(showElsewhere, OWN_MS, facts);
  },

  alert({ text, from, worker }) {
    addLine(`${from}: ${text}`, worker && `sent through ${worker}`);
  },

  ended({ reason }) {
    showLogin(reason);
  },

  reconnect({ within_ms: within }) {
    showState("This stream ends; the page opens another one.");
    openAfter(Math.random() * within);
  },
};

// EventSource reconnects by itself, after the pause that the server chose for this page: the more streams a
// worker holds, the longer.  It stops after an error page; then we ask why, and wait longer each time.
async function lost() {
  showState(AWAY);
  if (source.readyState === EventSource.CONNECTING) return;
  close();
  failures += 1;
  const answer = await fetch("/events", { method: "HEAD", cache: "no-store" }).catch(() => null);
  if (answer?.status === 401) showLogin("ended");
  else openAfter(Math.min(LONGEST_WAIT_MS, 500 * 2 ** failures) * (0.5 + Math.random() / 2));
}

function openAfter(milliseconds) {
  close();
  again = setTimeout(open, milliseconds);
}

function showLogin(reason) {
  close();
  const next = new URLSearchParams({ ended: reason, next: location.pathname });
  // After a login in another tab the new cookie is still on its way; with it /login leads straight back here.
  setTimeout(() => location.replace(`/login?${next}`), reason === "login" ? OWN_MS : 0);
}

// ---- one stream a page, and not too many a browser

// Call `begin` with 1 to MOST_STREAMS when this page may have a stream, `wait` when it must wait for one.
// The lock is held as long as the page is open.
async function takePlace(begin, wait) {
  if (!navigator.locks) return begin(1); // plain http by address: no locks there
  const forever = new Promise(() => {});
  for (let number = 1; number <= MOST_STREAMS; number++) {
    const taken = await new Promise((answer) => {
      navigator.locks.request(`stream ${number}`, { ifAvailable: true }, (lock) => {
        answer(lock !== null);
        return lock ? forever : undefined;
      });
    });
    if (taken) return begin(number);
  }
  wait();
  // The tab that held it may have closed because the session ended; its message of that comes first.
  navigator.locks.request("stream 1", () => {
    again = setTimeout(begin, OWN_MS, 1);
    return forever;
  });
}

function begin(number) {
  place = number;
  open();
}

function wait() {
  showState("Another tab of this browser holds the stream for this one.");
  tabs.addEventListener("message", ({ data }) => {
    if (place === 0 && data.type !== "hello" && data.type !== "reconnect") on[data.type](data.facts);
  });
}

// ---- the panel

function showState(before, worker = "", after = "") {
  if (!state) return;
  const name = document.createElement("strong");
  name.className = "id";
  name.textContent = worker;
  state.replaceChildren(before, name, after);
}

function showElsewhere({ visits }) {
  if (!own.has(visits)) addLine(`Visit ${visits}`, "made in another tab or by another program");
}

function addLine(text, about) {
  if (!lines) return;
  const line = document.createElement("li");
  const small = document.createElement("span");
  small.className = "muted small";
  small.textContent = about;
  line.append(text, " ", small);
  lines.prepend(line);
  while (lines.children.length > MOST_LINES) lines.lastElementChild.remove();
}

async function sendAlert(event) {
  event.preventDefault();
  const field = form.querySelector("input");
  const answer = await fetch("/api/alerts", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ text: field.value }),
  }).catch(() => null);
  const refused = form.querySelector("[role=alert]");
  refused.hidden = answer?.ok === true;
  if (answer?.ok) form.reset();
  else refused.textContent = `The alert was not sent (${answer?.status ?? "no answer"}).`;
}

if (panel) {
  form.addEventListener("submit", sendAlert);
  document.addEventListener("session", ({ detail }) => {
    if ("visits" in detail && !detail.fromStream) own.add(detail.visits);
  });
  panel.hidden = false;
}
// A form that leaves this page (log out, end a session) brings its own answer.
document.addEventListener("submit", (event) => {
  if (!event.defaultPrevented) close();
});
// Back must not bring a page from the browser's memory that its session no longer allows.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
if (window.EventSource) takePlace(begin, wait);
else showState(AWAY);
