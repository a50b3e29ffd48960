// Keeps the list of orders up to date: the server pushes what changes, also what workers elsewhere have done.
"use strict";

const list = document.getElementById("orders");
const shown = 50;

function fill(row, order) {
  const texts = [order.number, order.name, order.what, order.total, order.receipt_sent ? "sent" : "–"];
  const cells = texts.map((text) => {
    const cell = document.createElement("td");
    // Text, never markup: names come from anybody.
    cell.textContent = text;
    return cell;
  });
  const step = document.createElement("span");
  step.className = `step ${order.step}`;
  step.textContent = order.step;
  const last = document.createElement("td");
  last.append(step);
  row.replaceChildren(...cells, last);
}

function show(order) {
  let row = list.querySelector(`[data-number="${order.number}"]`);
  if (!row) {
    row = document.createElement("tr");
    row.dataset.number = order.number;
    // Newest first; one that is older than all that is shown is not shown.
    const next = [...list.children].find((other) => Number(other.dataset.number) < order.number);
    list.insertBefore(row, next ?? null);
    document.getElementById("none").hidden = true;
  }
  fill(row, order);
  while (list.children.length > shown) list.lastElementChild.remove();
}

const events = new EventSource(`/events?after=${list.dataset.read}`);
const live = document.getElementById("live");
events.onmessage = (event) => JSON.parse(event.data).forEach(show);
// The browser connects again by itself and names the last event that it has seen.
events.onopen = () => (live.hidden = false);
events.onerror = () => (live.hidden = true);

// What has been said once need not be said again when the page is reloaded.
if (location.search) history.replaceState(null, "", "/");
