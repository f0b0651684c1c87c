internal import Model

extension MemoryStorage: LeaseStorage, FencedStorage {
  package func lease(_ name: String) throws(StorageError) -> Lease? {
    try open()
    return leases[name]
  }

  package func replace(_ lease: Lease, expecting expected: Lease?) throws(StorageError) -> Lease? {
    try open()
    if leases[lease.name] == expected { leases[lease.name] = lease }
    return leases[lease.name]
  }

  package func raiseFence(to fence: Int64) throws(StorageError) {
    try open()
    guard fence >= self.fence else { throw StorageRefusal.lowerFence(fence, than: self.fence) }
    self.fence = fence
    for episode in episodes.values where episode.isOpen { episodeFences[episode.id] = fence }
  }
}
