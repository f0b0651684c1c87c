// Suites of what all stores share.
