internal import FoundationEssentials
internal import GRDB
internal import Model
internal import Storage

/// An episode as a row of `episodes`: columns for what is searched, JSON for the whole.
enum EpisodeRow {
  /// Writes it in the name of `fence`.
  /// - Throws: `conflict` when it carries a higher fence, or when its condition has another open episode.
  static func store(_ episode: Episode, fence: Int64, _ db: Database) throws {
    let listed = episode.isOpen ? episode.since : episode.ended_at ?? episode.since
    let count: Int
    do {
      count = try db.run(
        """
        INSERT INTO episodes (id, reaction, is_open, listed_at, body, condition, fence) VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET reaction = excluded.reaction, is_open = excluded.is_open,
          listed_at = excluded.listed_at, body = excluded.body, condition = excluded.condition, fence = excluded.fence
        WHERE fence <= excluded.fence
        """,
        [
          episode.id.storable, episode.key.reaction.storable, episode.isOpen, StoredTime.milliseconds(listed),
          try QueueRow.json(episode), episode.key.text.storable, fence,
        ])
    } catch let error as DatabaseError where error.resultCode == .SQLITE_CONSTRAINT {
      throw StorageRefusal.secondOpenEpisode(episode.id)
    }
    if count == 0 { throw StorageRefusal.fenced("the episode \(episode.id)") }
  }
}
