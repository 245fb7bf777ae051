"use strict";
// Fetches what has changed and puts it in its place. What the reader did stays: scroll, focus, open folds, order and
// filter of tables.
(function () {
  const EVERY = 3000; // ms between two questions
  const main = document.getElementById("main");
  const line = document.getElementById("live.line");
  const tags = JSON.parse(main.dataset.tags); // section -> what stands there
  const FOCUSABLE = "a,button,input,summary,[tabindex]";

  // a part by what it says, digits left aside, and its place among those that say the same
  const keyed = (parts, text) => {
    const seen = {};
    return [...parts].map((part) => {
      const said = part.tagName + (text(part) || "").replace(/\d+/g, "#");
      seen[said] = (seen[said] || 0) + 1;
      return [said + "/" + seen[said], part];
    });
  };
  const folds = (s) => keyed(s.querySelectorAll("details"), (d) => d.querySelector("summary").textContent);
  const scrolls = (s) => keyed(s.querySelectorAll(".scroll"), (d) => d.getAttribute("aria-label"));
  const stops = (s) => keyed(s.querySelectorAll(FOCUSABLE), (e) => e.getAttribute("aria-label") || e.textContent);
  const tables = (s) => keyed(s.querySelectorAll("table.sorts"), (t) => t.caption.textContent);
  const filter = (table) => {
    const bar = table.closest(".scroll").previousElementSibling;
    return bar && bar.matches(".filter") ? bar.querySelector("input") : null;
  };

  const held = (section) => ({
    folds: new Map(folds(section).map(([key, fold]) => [key, fold.open])),
    scrolls: new Map(scrolls(section).map(([key, part]) => [key, [part.scrollLeft, part.scrollTop]])),
    tables: new Map(tables(section).map(([key, table]) => {
      const k = [...table.tHead.rows[0].cells].findIndex((head) => head.hasAttribute("aria-sort"));
      const way = k < 0 ? null : table.tHead.rows[0].cells[k].getAttribute("aria-sort");
      return [key, [k, way, (filter(table) || {}).value]];
    })),
    focus: (stops(section).find(([, part]) => part === document.activeElement) || [])[0],
    caret: document.activeElement.selectionStart,
  });
  const restore = (section, was) => {
    for (const [key, fold] of folds(section)) if (was.folds.has(key)) fold.open = was.folds.get(key);
    for (const [key, table] of tables(section)) {
      const [k, way, words] = was.tables.get(key) || [-1];
      const button = k >= 0 && table.tHead.rows[0].cells[k].querySelector("button");
      if (button) for (let n = way === "ascending" ? 1 : 2; n > 0; n--) button.click();
      const input = words && filter(table);
      if (input) {
        input.value = words;
        input.dispatchEvent(new Event("input"));
      }
    }
    for (const [key, part] of scrolls(section)) [part.scrollLeft, part.scrollTop] = was.scrolls.get(key) || [0, 0];
    const stop = was.focus && stops(section).find(([key]) => key === was.focus);
    if (!stop) return;
    stop[1].focus({ preventScroll: true });
    if (stop[1].matches("input")) stop[1].setSelectionRange(was.caret, was.caret);
  };

  const selected = (section) => {
    const now = getSelection();
    return now && !now.isCollapsed && now.containsNode(section, true);
  };
  const replace = ({ id, tag, html }) => {
    const old = document.getElementById(id);
    if (html === undefined || !old || selected(old)) return; // who marks a text may copy it first
    const was = held(old);
    const box = document.createElement("template");
    box.innerHTML = html;
    const section = box.content.firstElementChild;
    old.replaceWith(section);
    section.dispatchEvent(new Event("replaced", { bubbles: true })); // sort buttons, filters
    restore(section, was);
    tags[id] = tag;
  };
  const put = (part, text) => { if (part.textContent !== text) part.textContent = text; };

  const show = (found) => {
    document.title = found.title + " · gan_ablate";
    line.classList.remove("lost");
    put(line, found.line);
    put(document.getElementById("live.asof"), found.as_of);
    const bar = document.getElementById("live.bar");
    [bar.max, bar.value] = [found.runs, found.done];
    const notes = document.getElementById("live.notes");
    if ([...notes.children].map((note) => note.textContent).join("\n") !== found.notes.join("\n")) {
      notes.replaceChildren(...found.notes.map((text) => {
        const note = document.createElement("p");
        note.className = "note";
        note.setAttribute("role", "note");
        note.textContent = text;
        return note;
      }));
    }
    // what stands at the top of the window stays there, whatever grows above it
    const first = [...main.children].find((section) => section.getBoundingClientRect().bottom > 0);
    const top = first && first.getBoundingClientRect().top;
    const id = first && first.id;
    found.sections.forEach(replace);
    if (first && top < 0) scrollBy(0, document.getElementById(id).getBoundingClientRect().top - top);
  };

  let since = new Date();
  const ask = async () => {
    try {
      const answer = await fetch("/live?have=" + Object.values(tags).join(","), { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.status);
      show(await answer.json());
      since = new Date();
    } catch {
      line.classList.add("lost");
      put(line, `No answer from gan-ablate dashboard since ${since.toLocaleTimeString()}: it has ended, or is busy. It is asked again and again.`);
    }
  };
  let waiting = 0;
  const go = async () => {
    clearTimeout(waiting);
    if (document.visibilityState === "visible") await ask();
    waiting = setTimeout(go, EVERY);
  };
  document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") go(); });
  waiting = setTimeout(go, EVERY);
})();
