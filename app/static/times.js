// Shows each moment of the page in the time and the spelling of this browser; without it they are in UTC.

for (const time of document.querySelectorAll("time")) {
  time.textContent = new Date(time.dateTime).toLocaleString();
}
