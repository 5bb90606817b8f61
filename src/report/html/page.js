// Steps through the picture.  All text is put in as text, never as HTML.
"use strict";
(() => {
  const steps = JSON.parse(document.getElementById("story").textContent);
  const table = document.querySelector("table");
  const rows = [...table.tBodies[0].rows];
  const few = document.getElementById("few");
  const put = (id, text) => { document.getElementById(id).textContent = text; };
  let at = -1;

  /** Makes a step the present one; `move`: the reader asked for it. */
  const select = (i, move) => {
    if (i < 0 || i >= rows.length) return;
    if (at >= 0) {
      rows[at].removeAttribute("aria-current");
      rows[at].tabIndex = -1;
    }
    at = i;
    const [row, step] = [rows[i], steps[i]];
    row.setAttribute("aria-current", "step");
    row.tabIndex = 0;
    put("at", `${step.step}, ${step.name}`);
    put("did", step.text ?? "");
    put("access", step.access);
    document.getElementById("stack").replaceChildren(...step.stack.map((frame) => {
      const [line, site] = [document.createElement("li"), document.createElement("span")];
      site.textContent = `  ${frame.site}`;
      line.append(frame.func, site);
      return line;
    }));
    if (move) {
      history.replaceState(null, "", `#${row.id}`);
      row.focus({ preventScroll: true });
      row.scrollIntoView({ block: "nearest" });
    }
  };

  const shown = (row) => !few.checked || row.matches(".touches, .here");
  const touches = (row) => row.matches(".touches, .here");
  /** The next row for which `good`, one way or the other. */
  const go = (way, good) => {
    for (let i = at + way; i >= 0 && i < rows.length; i += way) {
      if (good(rows[i])) return select(i, true);
    }
  };
  const ends = (list) => list.length && select(rows.indexOf(list[0]), true);
  const keys = {
    ArrowDown: () => go(1, shown), j: () => go(1, shown), ArrowUp: () => go(-1, shown), k: () => go(-1, shown),
    n: () => go(1, touches), p: () => go(-1, touches),
    Home: () => ends(rows.filter(shown)), End: () => ends(rows.filter(shown).reverse()),
  };

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });
  document.getElementById("back").addEventListener("click", () => go(-1, shown));
  document.getElementById("on").addEventListener("click", () => go(1, shown));
  table.addEventListener("click", (event) => {
    const row = event.target.closest("tbody tr");
    if (row && !event.target.closest("a")) select(rows.indexOf(row), true);
  });
  few.addEventListener("change", () => {
    table.classList.toggle("few", few.checked);
    rows[at]?.scrollIntoView({ block: "nearest" });
  });
  const fragment = () => rows.findIndex((row) => `#${row.id}` === location.hash);
  addEventListener("hashchange", () => select(fragment(), true));

  few.dispatchEvent(new Event("change"));
  if (fragment() >= 0) select(fragment(), true);
  else select(Math.max(0, rows.findIndex(touches)), false);
})();
