// The MongoDB store.
