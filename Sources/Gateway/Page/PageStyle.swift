/// Light and dark by the reader's own setting; no colour carries a meaning alone.
enum PageStyle {
  static let content = #"""
    :root {
      color-scheme: light dark;
      --back: #fbfaf8; --ink: #22252a; --soft: #6b7078; --line: #dfdcd6; --card: #ffffff;
      --good: #2f7d4f; --warn: #a86400; --bad: #b3261e; --bar: #cfd8e3; --fill: #4a76a8;
    }
    @media (prefers-color-scheme: dark) {
      :root {
        --back: #15171a; --ink: #e6e4df; --soft: #9aa0a8; --line: #30343a; --card: #1c1f23;
        --good: #6fbf8f; --warn: #e0a24a; --bad: #f2857c; --bar: #333a44; --fill: #7fa8d6;
      }
    }
    * { box-sizing: border-box; }
    body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
    header { display: flex; flex-wrap: wrap; gap: .4rem 1.5rem; align-items: baseline; padding: .9rem 1.5rem;
      border-bottom: 1px solid var(--line); background: var(--card); }
    h1 { font-size: 1.25rem; margin: 0; letter-spacing: .01em; }
    h2 { font-size: 1rem; margin: 0 0 .5rem; }
    header p { margin: 0; color: var(--soft); }
    .live { margin-left: auto !important; }
    .live::before { content: "\25CF\00A0"; color: var(--good); }
    .live.off::before { content: "\25CB\00A0"; color: var(--bad); }
    main { padding: 1.25rem 1.5rem 3rem; display: grid; gap: 2rem; }
    section { min-width: 0; overflow-x: auto; }
    table { border-collapse: collapse; width: 100%; background: var(--card); border: 1px solid var(--line); }
    th, td { text-align: left; padding: .45rem .7rem; border-bottom: 1px solid var(--line); white-space: nowrap;
      vertical-align: middle; font-variant-numeric: tabular-nums; }
    th { color: var(--soft); font-weight: 600; font-size: .82rem; }
    td.note { white-space: normal; color: var(--soft); }
    tr:last-child td { border-bottom: 0; }
    .state::before { content: "\25CF\00A0"; }
    .connected { color: var(--good); } .connecting, .unknown { color: var(--soft); }
    .failed, .lost, .refused, .critical { color: var(--bad); } .warning { color: var(--warn); } .info { color: var(--soft); }
    .severity { font-weight: 600; }
    .vital { display: inline-grid; grid-template-columns: 3.4rem 4.5rem 5rem; align-items: center; gap: .4rem; }
    .vital meter { width: 4.5rem; height: .6rem; }
    svg.spark { width: 5rem; height: 1.3rem; display: block; }
    svg.spark polyline { fill: none; stroke: var(--fill); stroke-width: 1.4; vector-effect: non-scaling-stroke; }
    .filter { display: inline-block; margin-bottom: .6rem; color: var(--soft); }
    .filter input { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: 4px;
      padding: .2rem .5rem; }
    code { font-family: ui-monospace, monospace; font-size: .92em; }
    @media (max-width: 700px) { main { padding: 1rem .6rem; } header { padding: .8rem .6rem; } svg.spark { display: none; }
      .vital { grid-template-columns: 3.2rem 3rem; } .vital meter { width: 3rem; } }
    """#
}
