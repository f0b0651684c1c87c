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
      <p id="live" class="off">not connected</p>
    </header>
    <noscript><p>This page needs JavaScript. <code>syscrap top</code> shows the same in a terminal.</p></noscript>
    <main>
      <section aria-labelledby="episodes-title">
        <h2 id="episodes-title">Open episodes</h2>
        <p id="quiet" hidden>Nothing is firing.</p>
        <table id="episodes" hidden>
          <thead><tr><th scope="col">Severity</th><th scope="col">Target</th><th scope="col">What</th>
          <th scope="col">Value</th><th scope="col">Limit</th><th scope="col">Since</th></tr></thead>
          <tbody></tbody>
        </table>
      </section>
      <section aria-labelledby="fleet-title">
        <h2 id="fleet-title">Fleet</h2>
        <p id="empty" hidden>No targets yet. Add one with <code>syscrap apply -f FILE</code> or
        <code>syscrap quick user@host</code>.</p>
        <p id="unknown" hidden></p>
        <div id="tools" class="tools" hidden>
          <label>Filter <input id="filter" type="search" placeholder="name or state ( / )" autocomplete="off"
          spellcheck="false"></label>
          <div role="group" aria-label="Which targets">
            <button type="button" data-show="all">All <span></span></button>
            <button type="button" data-show="firing">Firing <span></span></button>
            <button type="button" data-show="down">Not connected <span></span></button>
          </div>
        </div>
        <p id="none" hidden>No target matches.</p>
        <table id="fleet" hidden>
          <thead><tr><th scope="col">Target</th><th scope="col">State</th><th scope="col">CPU</th><th scope="col">RAM</th>
          <th scope="col" class="wide">Swap</th><th scope="col">Disk</th><th scope="col" class="wide">Load</th>
          <th scope="col" class="wide">Up</th><th scope="col" class="wide">Last sample</th></tr></thead>
          <tbody></tbody>
        </table>
      </section>
    </main>
    </body>
    </html>
    """#

  /// What a browser without a session is shown at `/`. It loads nothing.
  static let loginNeeded = #"""
    <!doctype html>
    <html lang="en">
    <head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Syscrap</title>
    <link rel="icon" href="data:,"></head>
    <body>
    <h1>Syscrap</h1>
    <p>This page needs a login. Run <code>syscrap login</code> on the machine on which the service runs, and open the
    address that it prints. The address is good once, within ten minutes.</p>
    </body>
    </html>

    """#
}
