/// Reads the fleet, then follows the updates. Everything is set as text, never as markup.
enum PageScript {
  static let content = basics + fleet + life

  /// Small things that everything else is made of.
  private static let basics = #"""
    "use strict";
    const rows = new Map();
    const drawn = new Map();
    const byId = (id) => document.getElementById(id);
    const svg = "http://www.w3.org/2000/svg";
    const states = { connected: "●", connecting: "◌", unknown: "?", failed: "✕", lost: "✕", refused: "⊘", standby: "◌" };
    const severities = { critical: "◆", warning: "▲", info: "●" };
    const rank = { critical: 0, warning: 1, info: 2 };
    const view = { show: "all", filter: "", open: new Set() };
    // How far the service's clock is ahead of this one.
    let ahead = 0;

    // Characters that cannot be seen, or that turn the text around them, are shown as what they are.
    function clean(text) {
      return String(text).replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
        (found) => "\\u" + found.charCodeAt(0).toString(16).padStart(4, "0"));
    }

    function element(name, text, className) {
      const made = document.createElement(name);
      if (text !== undefined && text !== null) { made.textContent = clean(text); made.dir = "auto"; }
      if (className) made.className = className;
      return made;
    }

    function known(table, name) { return Object.hasOwn(table, name) ? name : "unknown"; }

    function span(seconds) {
      if (typeof seconds !== "number") return "–";
      if (seconds < 120) return Math.round(seconds) + " s";
      if (seconds < 7200) return Math.round(seconds / 60) + " min";
      if (seconds < 172800) return Math.round(seconds / 3600) + " h";
      return Math.round(seconds / 86400) + " d";
    }

    function age(at) { return span(Math.max(0, (Date.now() + ahead - Date.parse(at)) / 1000)) + " ago"; }

    function time(at) {
      if (!at || Number.isNaN(Date.parse(at))) return element("span", "–");
      const made = element("time", age(at));
      made.dateTime = at;
      made.title = new Date(at).toLocaleString();
      return made;
    }

    function number(value, digits, unit) { return typeof value === "number" ? value.toFixed(digits) + (unit || "") : "–"; }

    function tag(kind, table, name) {
      const made = element("span", undefined, kind + " " + known(table, name));
      const symbol = element("span", table[known(table, name)] || "?");
      symbol.setAttribute("aria-hidden", "true");
      made.append(symbol, " ", element("span", name));
      return made;
    }

    // The recent values between 0 and 100 %, oldest left.
    function graph(values) {
      const drawing = document.createElementNS(svg, "svg");
      drawing.setAttribute("viewBox", "0 0 100 20");
      drawing.setAttribute("preserveAspectRatio", "none");
      drawing.setAttribute("aria-hidden", "true");
      const line = document.createElementNS(svg, "polyline");
      const step = 100 / (values.length - 1);
      line.setAttribute("points", values.map((value, index) =>
        (index * step).toFixed(1) + "," + (19 - Math.min(100, Math.max(0, Number(value) || 0)) * 0.18).toFixed(1)).join(" "));
      drawing.append(line);
      return drawing;
    }

    function what(episode) { return [episode.metric, episode.name, episode.element].filter(Boolean).join(" "); }

    """#

  /// Tables of episodes and targets.
  private static let fleet = #"""
    function vital(row, name) {
      const cell = element("td", undefined, name === "swap" ? "wide" : "");
      if (typeof row[name] !== "number") { cell.textContent = "–"; return cell; }
      const firing = (row.episodes || []).filter((episode) => String(episode.metric).toLowerCase() === name)
        .sort(worstFirst)[0];
      const box = element("span", undefined, "vital");
      const severity = firing && known(severities, firing.severity);
      if (severity) { box.classList.add(severity); box.title = firing.severity + ": " + clean(firing.limit); }
      if (row.state !== "connected") box.classList.add("stale");
      box.append(element("span", (severity ? (severities[severity] || "") + " " : "") + number(row[name], 1, " %"), "figure"));
      const recent = row.recent && row.recent[name];
      if (Array.isArray(recent) && recent.length > 1) box.append(graph(recent));
      cell.append(box);
      return cell;
    }

    function opener(target, isOpen) {
      const button = element("button", target);
      button.type = "button";
      button.dataset.target = target;
      button.setAttribute("aria-expanded", String(isOpen));
      return button;
    }

    function line(row, isOpen) {
      const made = element("tr");
      const head = element("th");
      head.scope = "row";
      head.append(opener(row.target, isOpen));
      const state = element("td");
      state.append(tag("state", states, row.state));
      made.append(head, state);
      if (row.state !== "connected" && row.detail && typeof row.cpu !== "number") {
        const note = element("td", row.detail, "note");
        note.colSpan = 6;
        made.append(note);
      } else {
        for (const name of ["cpu", "ram", "swap", "disk"]) made.append(vital(row, name));
        made.append(element("td", number(row.load1, 2), "wide"), element("td", span(row.uptime_seconds), "wide figure"));
      }
      const last = element("td", undefined, "wide");
      last.append(time(row.last_sample));
      made.append(last);
      return made;
    }

    function facts(row) {
      const list = element("dl");
      const add = (name, ...values) => { const value = element("dd"); value.append(...values);
        list.append(element("dt", name), value); };
      if (row.target.length > 40) add("Name", element("span", row.target));
      const since = row.since ? [" since ", time(row.since)] : [];
      add("State", element("span", row.state), ...since, row.detail ? element("span", ": " + row.detail) : "");
      if (row.last_error && row.last_error !== row.detail) add("Last error", element("span", row.last_error));
      if (typeof row.latency_ms === "number") add("Round trip", number(row.latency_ms, 1, " ms"));
      if (typeof row.load1 === "number") add("Load", number(row.load1, 2));
      if (typeof row.uptime_seconds === "number") add("Up", span(row.uptime_seconds));
      if (typeof row.swap === "number") add("Swap", number(row.swap, 1, " %"));
      if (row.disk_mount) add("Fullest disk", element("span", row.disk_mount), " " + number(row.disk, 1, " %"));
      if (row.last_sample) add("Last sample", time(row.last_sample));
      for (const episode of row.episodes || []) {
        const parts = [tag("severity", severities, episode.severity), " ",
          element("span", what(episode) + ": " + episode.value + ", limit " + episode.limit), ", ", time(episode.since)];
        if (/^https?:\/\//.test(episode.runbook || "")) {
          const link = element("a", "runbook");
          link.href = episode.runbook;
          link.rel = "noreferrer noopener";
          parts.push(" ", link);
        }
        add("Episode", ...parts);
      }
      const more = element("tr", undefined, "more");
      const cell = element("td");
      cell.colSpan = 9;
      cell.append(list);
      more.append(cell);
      return more;
    }

    function worstFirst(a, b) {
      return (rank[a.severity] ?? 3) - (rank[b.severity] ?? 3) || String(a.since).localeCompare(String(b.since));
    }

    function weight(row) { return row.firing ? rank[row.severity] ?? 3 : isDown(row) ? 4 : 5; }
    function isDown(row) { return row.state !== "connected" && row.state !== "standby"; }

    function episodeLine(episode) {
      const made = element("tr");
      const severity = element("td"), target = element("th"), since = element("td");
      severity.append(tag("severity", severities, episode.severity));
      const button = element("button", episode.target);
      button.type = "button";
      button.dataset.goto = episode.target;
      target.scope = "row";
      target.append(button);
      since.append(time(episode.since));
      made.append(severity, target, element("td", what(episode)), element("td", episode.value),
        element("td", episode.limit), since);
      return made;
    }

    // Puts these nodes there and touches none that is already in its place, so that focus and selection stay.
    function fill(body, nodes) {
      const focus = document.activeElement && { ...document.activeElement.dataset };
      nodes.forEach((node, index) => { if (body.children[index] !== node) body.insertBefore(node, body.children[index] || null); });
      while (body.children.length > nodes.length) body.lastElementChild.remove();
      if (!focus || document.activeElement !== document.body) return;
      const again = [...body.querySelectorAll("button")].find((button) =>
        (focus.target && button.dataset.target === focus.target) || (focus.goto && button.dataset.goto === focus.goto));
      if (again) again.focus({ preventScroll: true });
    }

    """#

  /// Drawing, loading, following, and the reader's choices.
  private static let life = #"""
    function text(id, value) { if (byId(id).textContent !== value) byId(id).textContent = value; }
    function count(number, one, many) { return number + " " + (number === 1 ? one : many); }

    let episodesDrawn = "";
    function draw() {
      const all = [...rows.values()].sort((a, b) => weight(a) - weight(b) || a.target.localeCompare(b.target));
      const wanted = view.filter.trim().toLowerCase();
      const kinds = { all: () => true, firing: (row) => row.firing > 0, down: isDown };
      const shown = all.filter((row) => kinds[view.show](row) &&
        (!wanted || (row.target + " " + row.state).toLowerCase().includes(wanted)));
      for (const target of drawn.keys()) if (!rows.has(target)) drawn.delete(target);
      fill(byId("fleet").tBodies[0], shown.flatMap((row) => {
        const isOpen = view.open.has(row.target);
        let made = drawn.get(row.target);
        if (!made || made.row !== row || made.isOpen !== isOpen) {
          made = { row, isOpen, nodes: isOpen ? [line(row, true), facts(row)] : [line(row, false)] };
          drawn.set(row.target, made);
        }
        return made.nodes;
      }));
      const open = all.flatMap((row) => row.episodes || []).sort(worstFirst);
      const episodes = JSON.stringify(open);
      if (episodes !== episodesDrawn) fill(byId("episodes").tBodies[0], open.map(episodeLine));
      episodesDrawn = episodes;
      byId("episodes").hidden = open.length === 0;
      byId("quiet").hidden = open.length !== 0;
      byId("fleet").hidden = shown.length === 0;
      byId("none").hidden = all.length === 0 || shown.length !== 0;
      byId("tools").hidden = all.length === 0;
      byId("empty").hidden = all.length !== 0 || storeTrouble !== "";
      byId("unknown").hidden = all.length !== 0 || storeTrouble === "";
      text("unknown", "No targets are known: " + storeTrouble);
      for (const button of document.querySelectorAll("[data-show]")) {
        button.setAttribute("aria-pressed", String(button.dataset.show === view.show));
        button.firstElementChild.textContent = all.filter(kinds[button.dataset.show]).length;
      }
      const up = all.filter((row) => !isDown(row)).length;
      text("summary", count(all.length, "target", "targets") + ", " + up + " connected, " +
        count(open.length, "open episode", "open episodes"));
      document.title = (open.length ? "(" + open.length + ") " : "") + "Syscrap";
    }

    // However many updates come, the page is drawn at most four times a second.
    let due = false;
    function redraw() {
      if (due) return;
      due = true;
      setTimeout(() => { due = false; draw(); }, 250);
    }

    // Changes that come while the fleet is being read are newer than what was asked for: they are made once more.
    let meanwhile = null;
    function take(change) { change(); if (meanwhile) meanwhile.push(change); redraw(); }

    // Without its store a service that was started meanwhile knows of no target: that is not none.
    let storeTrouble = "";
    let asking = 0;
    async function askForTrouble() {
      clearTimeout(asking);
      storeTrouble = "";
      if (rows.size > 0) return;
      const answer = await fetch("/readyz", { credentials: "same-origin" });
      const store = ((await answer.json()).checks || {}).store || "ok";
      storeTrouble = store === "ok" ? "" : String(store);
      // Nothing says when it is back but the rows that come then; without any it is asked again.
      if (storeTrouble) asking = setTimeout(() => askForTrouble().then(redraw, () => {}), 10000);
    }

    async function load() {
      meanwhile = [];
      const answer = await fetch("/api/v1/fleet", { credentials: "same-origin" });
      document.querySelector("main").hidden = answer.status === 401;
      if (answer.status === 401) {
        text("summary", "This page needs a login: run 'syscrap login' and open the address it prints.");
        return false;
      }
      if (!answer.ok) throw new Error("the service answered " + answer.status);
      const date = Date.parse(answer.headers.get("date"));
      ahead = Math.abs(date - Date.now()) > 2000 ? date - Date.now() : 0;
      const list = await answer.json();
      rows.clear();
      for (const row of list) rows.set(row.target, row);
      for (const change of meanwhile || []) change();
      meanwhile = null;
      await askForTrouble().catch(() => {});
      draw();
      return true;
    }

    function say(isLive) {
      text("live", isLive ? "live" : "not connected: the figures are from " + new Date().toLocaleTimeString());
      byId("live").classList.toggle("off", !isLive);
    }

    // Follows the updates; the browser itself comes back after a lost connection, we after a refused one.
    function follow() {
      const source = new EventSource("/api/v1/updates");
      source.onopen = () => { say(true); load().catch(() => {}); };
      source.onerror = () => {
        if (!byId("live").classList.contains("off")) say(false);
        if (source.readyState === EventSource.CLOSED) setTimeout(start, 5000);
      };
      source.addEventListener("target", (event) => {
        const row = JSON.parse(event.data).row;
        take(() => rows.set(row.target, row));
      });
      source.addEventListener("gone", (event) => {
        const target = JSON.parse(event.data).target;
        take(() => rows.delete(target));
      });
    }

    async function start() {
      try {
        if (await load()) follow();
      } catch (error) {
        text("summary", String(error.message));
        setTimeout(start, 5000);
      }
    }

    // What is chosen stands in the address, so that it can be passed on.
    function read() {
      const chosen = new URLSearchParams(location.hash.slice(1));
      view.show = ["firing", "down"].includes(chosen.get("show")) ? chosen.get("show") : "all";
      view.filter = chosen.get("filter") || "";
      view.open = new Set(chosen.getAll("open"));
      byId("filter").value = view.filter;
    }

    function choose(change) {
      change();
      const chosen = new URLSearchParams();
      if (view.show !== "all") chosen.set("show", view.show);
      if (view.filter) chosen.set("filter", view.filter);
      for (const target of view.open) chosen.append("open", target);
      history.replaceState(null, "", chosen.size ? "#" + chosen : location.pathname);
      draw();
    }

    document.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      const { show, target, goto: where } = button.dataset;
      if (show) choose(() => { view.show = show; });
      if (target !== undefined) choose(() => { if (!view.open.delete(target)) view.open.add(target); });
      if (where !== undefined) {
        choose(() => { view.open.add(where); view.show = "all"; view.filter = ""; byId("filter").value = ""; });
        const found = [...document.querySelectorAll("#fleet button")].find((one) => one.dataset.target === where);
        if (found) { found.scrollIntoView({ block: "center" }); found.focus({ preventScroll: true }); }
      }
    });
    document.addEventListener("keydown", (event) => {
      const filter = byId("filter");
      if (event.key === "/" && document.activeElement !== filter && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        filter.focus();
      }
      if (event.key === "Escape" && document.activeElement === filter) choose(() => { view.filter = filter.value = ""; });
    });
    byId("filter").addEventListener("input", () => choose(() => { view.filter = byId("filter").value; }));
    addEventListener("hashchange", () => { read(); draw(); });
    setInterval(() => { for (const one of document.querySelectorAll("time")) one.textContent = age(one.dateTime); }, 5000);
    // Updates can be missed by a slow reader: now and then everything is read anew.
    setInterval(() => { if (!byId("live").classList.contains("off")) load().catch(() => {}); }, 60000);
    read();
    start();

    """#
}
