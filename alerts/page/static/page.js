// Keeps the page current: asks for it again and swaps the parts marked data-live. Everything works without this.
"use strict";

const EVERY = 2500; // milliseconds; unchanged answers are a short 304
const liveness = document.getElementById("liveness");

function busy(part) {
  // Someone is at work in this part: a form in focus, or text being selected.
  const selection = document.getSelection();
  return (
    (part.contains(document.activeElement) && document.activeElement.matches("input, select, button, summary")) ||
    (selection && !selection.isCollapsed && part.contains(selection.anchorNode))
  );
}

// Returns whether every part could be swapped.
function swap(fresh) {
  let whole = true;
  document.title = fresh.title;
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(part.id);
    if (!next) continue;
    if (busy(part)) {
      whole = false;
      continue;
    }
    for (const open of part.querySelectorAll("details[open][id]")) {
      const same = next.querySelector(`[id="${CSS.escape(open.id)}"]`);
      if (same) same.open = true;
    }
    if (part.innerHTML !== next.innerHTML) part.replaceWith(document.importNode(next, true));
  }
  return whole;
}

function say(text) {
  liveness.hidden = false;
  liveness.textContent = text;
}

let tag = null;

async function look() {
  try {
    const answer = await fetch(location.href, { cache: "no-store", headers: tag ? { "If-None-Match": tag } : {} });
    if (answer.ok) {
      const whole = swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
      tag = whole ? answer.headers.get("ETag") : null;
    }
    say(answer.ok || answer.status === 304 ? "Updates by itself." : "Squall answers, but its archive is away. Trying again.");
  } catch {
    say("Squall does not answer. Trying again.");
  }
  setTimeout(look, document.hidden ? 8 * EVERY : EVERY);
}

if (document.querySelector("main [data-live]")) setTimeout(look, EVERY);
