/// The page's skeleton; page.js fills it.
enum PageHTML {
  static let content = #"""
    <!doctype html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Syscrap</title>
    <link rel="icon" href="data:,">
    <link rel="stylesheet" href="/assets/page.css">
    <script src="/assets/page.js" defer></script>
    </head>
    <body>
    <header>
      <h1>Syscrap</h1>
      <p id="summary" role="status">loading …</p>
      <p id="live" class="live off">not connected</p>
    </header>
    <main>
      <section aria-labelledby="episodes-title">
        <h2 id="episodes-title">Open episodes</h2>
        <p id="quiet">Nothing is firing.</p>
        <table id="episodes" hidden>
          <thead><tr><th scope="col">Severity</th><th scope="col">Target</th><th scope="col">What</th>
          <th scope="col">Value</th><th scope="col">Limit</th><th scope="col">Since</th></tr></thead>
          <tbody></tbody>
        </table>
      </section>
      <section aria-labelledby="fleet-title">
        <h2 id="fleet-title">Fleet</h2>
        <label class="filter">Filter <input id="filter" type="search" placeholder="name or state" autocomplete="off"></label>
        <p id="empty" hidden>No targets yet. Add one with <code>syscrap apply -f FILE</code> or
        <code>syscrap quick user@host</code>.</p>
        <table id="fleet">
          <thead><tr><th scope="col">Target</th><th scope="col">State</th><th scope="col">CPU</th><th scope="col">RAM</th>
          <th scope="col">Swap</th><th scope="col">Disk</th><th scope="col">Load</th><th scope="col">Up</th>
          <th scope="col">Last sample</th></tr></thead>
          <tbody></tbody>
        </table>
      </section>
    </main>
    <noscript><p>This page needs JavaScript. <code>syscrap top</code> shows the same in a terminal.</p></noscript>
    </body>
    </html>
    """#
}
