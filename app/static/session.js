// Keeps the session's figures on the main page current: counts its age up and both timeouts down, and
// shows newer figures when the page dispatches a "session" event with some or all fields of /api/session.

const fields = document.querySelectorAll("[data-field]");
const timers = document.querySelectorAll("[data-left]");
const ends = new Map(); // timer element -> the moment it reaches zero, in milliseconds
const age = document.querySelector("#age");
const began = Date.now() - Number(age.dataset.seconds) * 1000; // by this browser's own clock

function setTimer(timer, seconds) {
  ends.set(timer, Date.now() + seconds * 1000);
}

// Hours, minutes and seconds, written as the server writes them.
function clock(seconds) {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const two = (number) => String(number).padStart(2, "0");
  return `${hours}:${two(minutes)}:${two(seconds % 60)}`;
}

function tick() {
  age.textContent = clock(Math.round((Date.now() - began) / 1000));
  for (const [timer, end] of ends) {
    const left = Math.max(0, Math.round((end - Date.now()) / 1000));
    timer.textContent = left > 0 ? clock(left) : "expired: log in again";
  }
}

function show(session) {
  for (const field of fields) {
    if (field.dataset.field in session) field.textContent = session[field.dataset.field];
  }
  for (const timer of timers) {
    if (timer.dataset.left in session) setTimer(timer, session[timer.dataset.left]);
  }
  tick();
}

for (const timer of timers) setTimer(timer, Number(timer.dataset.seconds));
tick();
setInterval(tick, 1000);
document.addEventListener("session", (event) => show(event.detail));
