// Keeps the board up to date: asks for it every two seconds and changes only what differs, so focus, open details and the
// scroll position stay. Says plainly when it could not.
"use strict";
(() => {
  const EVERY_MS = 2000;
  const AFTER_TROUBLE_MS = 5000;
  const PATIENCE_MS = 10000;
  const board = document.getElementById("board");
  const stale = document.getElementById("stale");
  const signIn = document.getElementById("signin");
  const pause = document.getElementById("pause");
  let timer = 0;
  let asking = false;

  const key = (node) => (node.nodeType === 1 ? node.id || node.dataset.key || "" : "");
  const alike = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName && key(one) === key(other);

  function attributes(old, fresh) {
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  }

  function children(old, fresh) {
    const keyed = new Map();
    for (const child of old.childNodes) if (key(child)) keyed.set(key(child), child);
    const wantedKeys = new Set([...fresh.childNodes].map(key));
    let at = old.firstChild;
    const drop = () => {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    };
    for (const wanted of [...fresh.childNodes]) {
      const match = key(wanted) ? keyed.get(key(wanted)) : at;
      // What goes away goes first: a node that is moved past it would lose the focus.
      while (match && match !== at && at && !(key(at) && wantedKeys.has(key(at)))) drop();
      if (!match || !alike(match, wanted)) {
        old.insertBefore(wanted, at);
        continue;
      }
      if (match === at) at = at.nextSibling;
      else old.insertBefore(match, at);
      morph(match, wanted);
    }
    while (at) drop();
  }

  function morph(old, fresh) {
    if (old.nodeType !== 1) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    attributes(old, fresh);
    children(old, fresh);
  }

  function show(html) {
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    const focused = board.contains(document.activeElement) ? document.activeElement : null;
    const section = focused && focused.closest("section");
    children(board, fresh.content);
    // What had the focus is gone: a replayed dead letter, for instance. Not back to the top of the page.
    if (focused && !focused.isConnected) (section && section.isConnected && section.id ? section : board).focus({ preventScroll: true });
    say("", false);
  }

  function say(why, signedOut) {
    const text = why && `Not updated since ${document.getElementById("at").textContent}: ${why}`;
    if (stale.textContent !== text) stale.textContent = text; // a status is read aloud when it changes
    signIn.hidden = !signedOut;
    board.classList.toggle("old", Boolean(why));
  }

  async function ask() {
    if (asking) return;
    asking = true;
    let next = AFTER_TROUBLE_MS;
    try {
      const answer = await fetch("/board", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
      const text = await answer.text();
      if (answer.ok) {
        show(text);
        next = EVERY_MS;
      } else {
        say(answer.headers.get("content-type").startsWith("text/plain") ? text : `the server answers ${answer.status}`, answer.status === 401);
      }
    } catch {
      say("the server does not answer", false);
    }
    asking = false;
    later(next);
  }

  const paused = () => pause.getAttribute("aria-pressed") === "true";

  function later(ms) {
    clearTimeout(timer);
    if (!document.hidden && !paused()) timer = setTimeout(ask, ms);
  }

  document.addEventListener("visibilitychange", () => later(0));
  pause.addEventListener("click", () => {
    pause.setAttribute("aria-pressed", String(!paused()));
    later(0);
  });
  pause.parentElement.hidden = false;
  later(EVERY_MS);
})();
