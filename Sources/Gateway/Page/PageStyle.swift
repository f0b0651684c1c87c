/// Light and dark by the reader's own setting; no colour carries a meaning alone.
enum PageStyle {
  static let content = #"""
    :root {
      color-scheme: light dark;
      --back: #f7f7f5; --card: #ffffff; --ink: #1f2328; --soft: #5c636b; --line: #e2e0db; --hover: #f3f2ee;
      --good: #23703f; --warn: #8a5200; --bad: #b0221a; --warn-back: #fdf3e1; --bad-back: #fdecea;
      --graph: #3e6ea5; --area: #dbe6f2; --focus: #1a66c2;
    }
    @media (prefers-color-scheme: dark) {
      :root {
        --back: #141619; --card: #1b1e22; --ink: #e7e5e0; --soft: #a3a9b1; --line: #31353b; --hover: #23272c;
        --good: #7cc79a; --warn: #e6ad57; --bad: #f5938a; --warn-back: #352a16; --bad-back: #3a1f1d;
        --graph: #86aede; --area: #273648; --focus: #7fb2f0;
      }
    }
    * { box-sizing: border-box; }
    [hidden] { display: none !important; }
    body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
    :focus-visible { outline: 2px solid var(--focus); outline-offset: 1px; border-radius: 3px; }
    header { display: flex; flex-wrap: wrap; gap: .3rem 1.5rem; align-items: baseline; padding: .8rem 1.5rem;
      border-bottom: 1px solid var(--line); background: var(--card); }
    h1 { font-size: 1.2rem; margin: 0; }
    h2 { font-size: 1rem; margin: 0 0 .6rem; }
    header p { margin: 0; color: var(--soft); }
    #live { margin-left: auto; }
    #live::before { content: "\25CF\00A0"; color: var(--good); }
    #live.off { color: var(--bad); }
    #live.off::before { content: "\25CB\00A0"; color: inherit; }
    main { padding: 1.2rem 1.5rem 3rem; display: grid; gap: 1.8rem; max-width: 100rem; margin: 0 auto; }
    section { min-width: 0; overflow-x: auto; padding: 2px; }
    section > p, noscript p { color: var(--soft); margin: 0 0 .6rem; }
    table { border-collapse: collapse; width: 100%; background: var(--card); border: 1px solid var(--line); }
    th, td { text-align: left; padding: .42rem .7rem; border-bottom: 1px solid var(--line); vertical-align: middle;
      font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
    tbody tr:last-child > * { border-bottom: 0; }
    thead th { color: var(--soft); font-weight: 600; font-size: .8rem; white-space: nowrap; }
    tbody th { font-weight: 600; min-width: 12.5rem; max-width: 24rem; }
    #episodes td:nth-child(3) { min-width: 8rem; } #episodes td:nth-child(4) { min-width: 4.8rem; }
    tbody th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; text-align: left; cursor: pointer;
      overflow-wrap: anywhere; }
    /* Of a very long name three lines; its details show it whole. */
    tbody th button { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; overflow: hidden; }
    #fleet tbody th button { padding-left: 1.1em; position: relative; }
    tbody th button:hover { text-decoration: underline; }
    #fleet tbody th button::before { content: "\25B8"; position: absolute; left: 0; color: var(--soft); }
    #fleet tbody th button[aria-expanded=true]::before { content: "\25BE"; }
    #fleet tbody tr:hover > * { background: var(--hover); }
    time, .figure, .state, .severity { white-space: nowrap; }
    td.note, .stale { color: var(--soft); }
    .stale { font-style: italic; }
    .connected { color: var(--good); } .connecting, .unknown { color: var(--soft); }
    .failed, .lost, .refused { color: var(--bad); font-weight: 600; }
    .severity { font-weight: 600; display: inline-block; padding: .05rem .5rem; border-radius: 3px;
      background: var(--hover); color: var(--soft); }
    .severity.critical { color: var(--bad); background: var(--bad-back); }
    .severity.warning { color: var(--warn); background: var(--warn-back); }
    .critical > .figure { color: var(--bad); font-weight: 700; } .warning > .figure { color: var(--warn); font-weight: 700; }
    .vital { display: flex; align-items: center; gap: .5rem; }
    .vital .figure { min-width: 4.2rem; text-align: right; }
    svg { width: 3.6rem; height: 1.4rem; flex: none; background: var(--area); border-radius: 2px; opacity: .95; }
    svg polyline { fill: none; stroke: var(--graph); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
    .stale svg { opacity: .5; }
    .more dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: .1rem 0 .3rem 1.1rem; }
    .more dt { color: var(--soft); } .more dd { margin: 0; max-width: 60rem; }
    .tools { display: flex; flex-wrap: wrap; gap: .5rem 1.2rem; margin-bottom: .7rem; align-items: center; color: var(--soft); }
    .tools input, .tools button { font: inherit; color: var(--ink); background: var(--card); border: 1px solid var(--line);
      border-radius: 4px; padding: .22rem .6rem; }
    .tools button { cursor: pointer; } .tools button span { color: var(--soft); }
    .tools button[aria-pressed=true] { border-color: var(--focus); box-shadow: inset 0 -2px 0 var(--focus); }
    code { font-family: ui-monospace, monospace; font-size: .92em; }
    a { color: var(--focus); }
    @media (max-width: 1150px) { #fleet svg { display: none; } .vital .figure { min-width: 0; } }
    @media (max-width: 720px) {
      main { padding: 1rem .6rem 2rem; } header { padding: .7rem .6rem; }
      .wide { display: none; } th, td { padding: .4rem .35rem; font-size: .88rem; } tbody th { min-width: 6.2rem; }
      #episodes td:nth-child(n) { min-width: 0; }
      .severity { padding: .05rem .25rem; } #fleet .state span + span { overflow-wrap: anywhere; }
      .tools input { width: 100%; } .tools label { flex: 1 1 100%; display: flex; gap: .5rem; }
      #episodes th:nth-child(5), #episodes td:nth-child(5) { display: none; }
      .more dl { grid-template-columns: 1fr; } .more dd { margin-bottom: .3rem; }
    }
    """#
}
