internal import FoundationEssentials
internal import Model
internal import Storage

/// Episodes as documents of `episodes`: `{_id, reaction, condition, open, listed, fence, body}`.
///
/// `condition` names what the episode is about, `open` whether it lasts, `listed` is its place in lists, `body` all of
/// it. Raising the fence writes `fence` into those with `open: true`.
enum EpisodeDocument {
  /// What is set each time; `_id` comes from the filter.
  static func fields(_ episode: Episode, body: BSON, fence: Int64, _ w: inout BSONWriter) {
    w.string("reaction", episode.key.reaction)
    w.string("condition", episode.key.text)
    w.bool("open", episode.isOpen)
    w.date("listed", episode.isOpen ? episode.since : episode.ended_at ?? episode.since)
    w.int("fence", fence)
    w.raw("body", body)
  }

  static func episode(_ document: BSON) throws -> Episode {
    guard let body = document["body"]?.documentValue else { throw BSONError.malformed }
    return try BSONDecoder().decode(Episode.self, from: body)
  }
}
