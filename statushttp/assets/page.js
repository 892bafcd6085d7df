// Follows the page: replaces the parts that changed, keeps focus and open details,
// and says when the connection is lost. Without it the page reloads by itself.
"use strict";
(() => {
  const body = document.body, live = document.getElementById("live"), address = body.dataset.events;
  if (!address || !window.EventSource) return;
  let source, lastSign = Date.now(), timer;

  // What an action said is shown once: a reload does not say it again.
  const here = new URL(location.href);
  if (here.searchParams.has("told")) {
    here.searchParams.delete("told");
    history.replaceState(null, "", here);
  }

  const say = (on, text) => {
    body.dataset.live = on ? "yes" : "no";
    if (live.textContent !== text) live.textContent = text;
  };

  const keyed = (root, key) => {
    for (const e of root.querySelectorAll("[data-key]")) if (e.dataset.key === key) return e;
    return null;
  };

  // Whoever marks text in a part has it kept until the mark is gone.
  const marked = (part) => {
    const s = getSelection();
    return s && !s.isCollapsed && s.rangeCount > 0 && s.getRangeAt(0).intersectsNode(part);
  };

  // Troubles that come and go are told in the title, and to who cannot see the page.
  const title = document.title.replace(/^▲ \d+ · /, "");
  const troubles = (part) => {
    const n = Number(part.dataset.critical) + Number(part.dataset.warnings);
    const words = n === 0 ? "No troubles." : n === 1 ? "1 trouble." : n + " troubles.";
    document.title = (n > 0 ? "▲ " + n + " · " : "") + title;
    const said = document.getElementById("announced");
    if (said.dataset.n !== String(n)) said.textContent = words;
    said.dataset.n = n;
  };

  // A part with a button that is held down is kept until it is let go: the click is the old button's.
  let held = null;

  const waiting = new Map();

  const replace = (id, html) => {
    const old = document.getElementById(id);
    if (!old) return;
    if (held === old || marked(old)) {
      waiting.set(id, html);
      return;
    }
    waiting.delete(id);
    const box = document.createElement("template");
    box.innerHTML = html;
    const next = box.content.firstElementChild;
    if (!next) return;
    for (const d of old.querySelectorAll("details[open][data-key]")) {
      const same = keyed(next, d.dataset.key);
      if (same) same.open = true;
    }
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const key = focused && (focused.dataset.key || (focused.parentElement && focused.parentElement.dataset.key));
    const summary = focused && focused.tagName === "SUMMARY";
    old.replaceWith(next);
    if (id === "troubles") troubles(next);
    if (!focused) return;
    let target = key ? keyed(next, key) : null;
    if (target && summary) target = target.querySelector("summary");
    if (!target) { // what had the focus is gone: the part's heading is the nearest thing to it
      target = next.querySelector("h2");
      if (target) target.tabIndex = -1;
    }
    if (target) target.focus({ preventScroll: true });
  };

  const catchUp = () => {
    for (const [id, html] of [...waiting]) replace(id, html);
  };
  const hold = (event) => { held = event.target.closest("section[id]"); };
  const letGo = () => {
    held = null;
    setTimeout(catchUp); // behind the click, which comes next
  };
  document.addEventListener("selectionchange", catchUp);
  addEventListener("pointerdown", hold);
  addEventListener("pointerup", letGo);
  addEventListener("pointercancel", letGo);
  addEventListener("keydown", (event) => { if (event.key === " ") hold(event); });
  addEventListener("keyup", (event) => { if (event.key === " ") letGo(); });
  addEventListener("blur", letGo);

  const open = () => {
    clearTimeout(timer);
    if (source) source.close();
    source = new EventSource(address);
    source.onopen = () => {
      lastSign = Date.now();
      say(true, "● Live");
    };
    source.addEventListener("parts", (event) => {
      lastSign = Date.now();
      const parts = JSON.parse(event.data);
      for (const id of Object.keys(parts)) replace(id, parts[id]);
      say(true, "● Live");
    });
    source.addEventListener("still", () => {
      lastSign = Date.now();
    });
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) {
        say(false, "○ Not live: the connection is lost. It is tried again.");
        return;
      }
      // The answer was no stream: the login has ended, say, or too many follow.
      say(false, "○ Not live: refused. Reload to see why. It is tried again.");
      timer = setTimeout(open, 5000);
    };
  };

  say(false, "○ Not live yet.");
  open();
  // A connection can be gone without a word. Something comes every 15 seconds.
  setInterval(() => {
    if (body.dataset.live === "yes" && Date.now() - lastSign > 40000) {
      say(false, "○ Not live: nothing comes any more. It is tried again.");
      lastSign = Date.now();
      open();
    }
  }, 5000);
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => { if (event.persisted) open(); });
})();
