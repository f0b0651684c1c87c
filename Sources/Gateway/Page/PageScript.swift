/// Reads the fleet once, then follows the updates. Everything is set as text, never as markup.
enum PageScript {
  static let content = #"""
    "use strict";
    const rows = new Map();
    const byId = (id) => document.getElementById(id);
    const svg = "http://www.w3.org/2000/svg";

    function element(name, text, className) {
      const made = document.createElement(name);
      if (text !== undefined && text !== null) made.textContent = text;
      if (className) made.className = className;
      return made;
    }

    function ago(time) {
      if (!time) return "–";
      const seconds = Math.max(0, Math.round((Date.now() - Date.parse(time)) / 1000));
      if (seconds < 120) return seconds + " s ago";
      if (seconds < 7200) return Math.round(seconds / 60) + " min ago";
      if (seconds < 172800) return Math.round(seconds / 3600) + " h ago";
      return Math.round(seconds / 86400) + " d ago";
    }

    function span(seconds) {
      if (typeof seconds !== "number") return "–";
      if (seconds < 7200) return Math.round(seconds / 60) + " min";
      if (seconds < 172800) return Math.round(seconds / 3600) + " h";
      return Math.round(seconds / 86400) + " d";
    }

    function sparkline(values) {
      const drawing = document.createElementNS(svg, "svg");
      drawing.setAttribute("class", "spark");
      drawing.setAttribute("viewBox", "0 0 100 20");
      drawing.setAttribute("preserveAspectRatio", "none");
      drawing.setAttribute("aria-hidden", "true");
      if (values && values.length > 1) {
        const line = document.createElementNS(svg, "polyline");
        const step = 100 / (values.length - 1);
        line.setAttribute("points", values.map((value, index) =>
          (index * step).toFixed(1) + "," + (19 - Math.min(100, Math.max(0, value)) * 0.18).toFixed(1)).join(" "));
        drawing.append(line);
      }
      return drawing;
    }

    function vital(row, name) {
      const cell = element("td");
      if (typeof row[name] !== "number") { cell.textContent = "–"; return cell; }
      const box = element("span", undefined, "vital");
      const meter = element("meter");
      meter.min = 0; meter.max = 100; meter.low = 70; meter.high = 90; meter.optimum = 0;
      meter.value = row[name];
      box.append(element("span", row[name].toFixed(1) + " %"), meter, sparkline(row.recent && row.recent[name]));
      if (name === "disk" && row.disk_mount) box.title = "fullest: " + row.disk_mount;
      cell.append(box);
      return cell;
    }

    function fleetRow(row) {
      const line = element("tr");
      line.append(element("th", row.target));
      const state = element("td");
      state.append(element("span", row.state, "state " + row.state));
      if (row.detail) state.title = row.detail;
      line.append(state);
      const cannot = row.state !== "connected" && row.detail;
      if (cannot && typeof row.cpu !== "number") {
        const note = element("td", row.detail, "note");
        note.colSpan = 6;
        line.append(note);
      } else {
        for (const name of ["cpu", "ram", "swap", "disk"]) line.append(vital(row, name));
        line.append(element("td", typeof row.load1 === "number" ? row.load1.toFixed(2) : "–"));
        line.append(element("td", span(row.uptime_seconds)));
      }
      line.append(element("td", ago(row.last_sample)));
      return line;
    }

    function draw() {
      const wanted = byId("filter").value.trim().toLowerCase();
      const all = [...rows.values()].sort((a, b) =>
        (b.firing || 0) - (a.firing || 0) || a.target.localeCompare(b.target));
      const shown = all.filter((row) => !wanted || (row.target + " " + row.state).toLowerCase().includes(wanted));
      byId("fleet").tBodies[0].replaceChildren(...shown.map(fleetRow));
      byId("fleet").hidden = all.length === 0;
      byId("empty").hidden = all.length !== 0;
      const open = all.flatMap((row) => (row.episodes || []));
      const weight = { critical: 0, warning: 1, info: 2 };
      open.sort((a, b) => weight[a.severity] - weight[b.severity] || a.since.localeCompare(b.since));
      byId("episodes").tBodies[0].replaceChildren(...open.map((episode) => {
        const line = element("tr");
        line.append(element("td", episode.severity, "severity " + episode.severity), element("th", episode.target),
          element("td", episode.metric + (episode.name ? " " + episode.name : "") + (episode.element ? " " + episode.element : "")),
          element("td", episode.value), element("td", episode.limit), element("td", ago(episode.since)));
        return line;
      }));
      byId("episodes").hidden = open.length === 0;
      byId("quiet").hidden = open.length !== 0;
      const connected = all.filter((row) => row.state === "connected").length;
      byId("summary").textContent = all.length + (all.length === 1 ? " target, " : " targets, ") + connected +
        " connected, " + open.length + (open.length === 1 ? " open episode" : " open episodes");
    }

    let due = false;
    function redraw() {
      if (due) return;
      due = true;
      requestAnimationFrame(() => { due = false; draw(); });
    }

    async function load() {
      const answer = await fetch("/api/v1/fleet", { credentials: "same-origin" });
      if (answer.status === 401) {
        byId("summary").textContent = "This page needs a login: run 'syscrap login' and open the address it prints.";
        return false;
      }
      if (!answer.ok) throw new Error("the service answered " + answer.status);
      rows.clear();
      for (const row of await answer.json()) rows.set(row.target, row);
      redraw();
      return true;
    }

    function follow() {
      const source = new EventSource("/api/v1/updates");
      const live = byId("live");
      source.onopen = () => { live.textContent = "live"; live.classList.remove("off"); load().catch(() => {}); };
      source.onerror = () => { live.textContent = "not connected"; live.classList.add("off"); };
      source.addEventListener("target", (event) => {
        const row = JSON.parse(event.data).row;
        rows.set(row.target, row);
        redraw();
      });
      source.addEventListener("gone", (event) => { rows.delete(JSON.parse(event.data).target); redraw(); });
    }

    byId("filter").addEventListener("input", redraw);
    setInterval(redraw, 5000);
    load().then((ok) => { if (ok) follow(); }).catch((error) => { byId("summary").textContent = String(error.message); });
    """#
}
