// On an error page that will pass: asks now and then whether the address answers again, and loads it.
// Always with GET, so nothing that was sent is sent twice.

const note = document.querySelector("#again");

async function look() {
  const answer = await fetch(location.href, { cache: "no-store" }).catch(() => null);
  if (answer && answer.status < 500) location.replace(location.href);
  else lookLater();
}

// Not all pages at the same moment: a worker that has just come back has enough to do.
function lookLater() {
  setTimeout(look, Number(note.dataset.seconds) * 1000 * (0.75 + Math.random() / 2));
}

lookLater();
