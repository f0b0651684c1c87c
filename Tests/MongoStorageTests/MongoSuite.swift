// Suites of the MongoDB store.
